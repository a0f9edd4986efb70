"""The examples of the language, against token loops written by hand in torch."""

import importlib.util
from pathlib import Path

import pytest
import torch

from helpers import assert_close, compare, unit_vectors

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
F = torch.nn.functional


def example(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


B, T, H, K, V = 1, 70, 2, 8, 6
read = lambda S, q: torch.einsum("bhkv,bhk->bhv", S, q)
outer = lambda k, v: k[..., :, None] * v[..., None, :]


def run(step, *states, tokens):
    """Outputs of a token loop: step(states, t) -> (states, o), in float64."""
    outputs = []
    for t in range(tokens):
        states, o = step(states, t)
        outputs.append(o)
    return torch.stack(outputs, 1)


def zeros(*shape):
    return torch.zeros(*shape, dtype=torch.float64)


def test_deltaproduct():
    op, n = example("deltaproduct").gated_delta_product, 3
    q, v, g = draw(B, T, H, K), draw(B, T, H, n, V, seed=1), F.logsigmoid(draw(B, T, H, seed=2))
    k, beta = F.normalize(draw(B, T, H, n, K, seed=3), dim=-1), 2 * torch.sigmoid(draw(B, T, H, n, seed=4))

    def step(states, t):
        S = states[0] * g[:, t, :, None, None].double().exp()
        for i in range(n):
            ki = k[:, t, :, i].double()
            S = S + outer(ki, beta[:, t, :, i, None].double() * (v[:, t, :, i].double() - read(S, ki)))
        return (S,), 0.5 * read(S, q[:, t].double())

    assert_close(op(q, k, v, beta, g, n=n, scale=0.5)[0], run(step, zeros(B, H, K, V), tokens=T))
    compare(op, (q, k, v, beta, g), {"n": n})
    compare(op, (q, k, v, beta), {"n": n})


def test_gsa():
    op, M = example("gsa").gsa, 5
    q, k, v = draw(B, T, H, K), draw(B, T, H, K, seed=1), draw(B, T, H, V, seed=2)
    g = F.logsigmoid(draw(B, T, H, M, seed=3))
    s = 1 - g.exp()

    def step(states, t):
        a, (Hk, Hv) = g[:, t].double().exp(), states
        Hk = Hk * a[..., None, :] + outer(k[:, t].double(), s[:, t].double())
        Hv = Hv * a[..., :, None] + outer(s[:, t].double(), v[:, t].double())
        return (Hk, Hv), read(Hv, read(Hk, q[:, t].double() * 0.5).softmax(-1))

    assert_close(op(q, k, v, s, g, scale=0.5)[0], run(step, zeros(B, H, K, M), zeros(B, H, M, V), tokens=T))
    compare(op, (q, k, v, s, g), initial_state=(draw(B, H, K, M), draw(B, H, M, V)))


def test_mamba1():
    op, D, N = example("mamba1").mamba, 6, 4
    x, dt, Bt, C = draw(B, T, D), torch.rand(B, T, D), draw(B, T, N, seed=1), draw(B, T, N, seed=2)
    A, skip = -torch.rand(D, N), draw(D, seed=3)

    def step(states, t):
        d = dt[:, t, :, None].double()
        h = (d * A.double()).exp() * states[0] + outer((dt * x)[:, t].double(), Bt[:, t].double())
        return (h,), (h @ C[:, t, :, None].double())[..., 0] + skip.double() * x[:, t].double()

    assert_close(op(x, dt, A, Bt, C, skip)[0][:, :, 0], run(step, zeros(B, D, N), tokens=T))
    compare(op, (x, dt, A, Bt, C, skip))


def test_hgrn():
    op = example("hgrn").hgrn
    x, g = draw(B, T, H, K), F.logsigmoid(draw(B, T, H, K, seed=1))

    def step(states, t):
        h = g[:, t].double().exp() * states[0] + x[:, t].double()
        return (h,), h

    assert_close(op(x, g)[0], run(step, zeros(B, H, K), tokens=T))
    compare(op, (x, g), initial_state=draw(B, H, K, seed=2))


def test_based():
    """Scores are 1 + x + x²/2 of x = scale q·k."""
    op, scale = example("based").based, 0.4
    q, k, v = draw(B, T, H, 4), draw(B, T, H, 4, seed=1), draw(B, T, H, V, seed=2)
    x = scale * torch.einsum("bthd,bshd->bhts", q.double(), k.double())
    scores = (1 + x + x * x / 2).tril()
    want = torch.einsum("bhts,bshv->bthv", scores, v.double()) / (scores.sum(-1).transpose(1, 2) + 1e-6)[..., None]
    assert_close(op(q, k, v, scale=scale)[0], want)
    compare(op, (q, k, v), {"scale": scale})


@pytest.mark.parametrize("bounded", [False, True])
def test_kda_with_its_gate(bounded):
    op = example("kda_gate").kda
    q, k, v, g = draw(B, T, H, K), unit_vectors(B, T, H, K), draw(B, T, H, V, seed=1), draw(B, T, H, K, seed=2)
    beta, A_log, bias = torch.sigmoid(draw(B, T, H, seed=3)), draw(H, seed=4), draw(H, K, seed=5)

    def step(states, t):
        x = (g[:, t] + bias).double()
        A = A_log.double().exp()[:, None]
        S = states[0] * (-3.0 * torch.sigmoid(A * x) if bounded else -A * F.softplus(x)).exp()[..., None]
        kt = k[:, t].double()
        S = S + outer(kt, beta[:, t, :, None].double() * (v[:, t].double() - read(S, kt)))
        return (S,), read(S, q[:, t].double())

    kwargs = {"bounded": bounded, "lower_bound": -3.0}
    assert_close(op(q, k, v, g, beta, A_log, bias, **kwargs)[0], run(step, zeros(B, H, K, V), tokens=T))
    compare(op, (q, k, v, g, beta, A_log, bias), kwargs)
    compare(op, (q, k, v, g, beta, A_log), kwargs)


def test_rwkv7():
    op = example("rwkv7").rwkv7
    r, w, k, a = (draw(B, T, H, K, seed=i) for i in range(4))
    v, k_k, k_a = draw(B, T, H, V, seed=4), 1 + 0.1 * draw(H, K, seed=5), 1 + 0.1 * draw(H, K, seed=6)

    def step(states, t):
        rate = torch.sigmoid(a[:, t].double())
        kk = k[:, t].double() * k_k.double()
        kk = kk * (kk.pow(2).sum(-1, keepdim=True) + 1e-6).rsqrt()
        kt = k[:, t].double() * (1 + (rate - 1) * k_a.double())
        S = states[0]
        S = S * (-0.6065306597126334 * torch.sigmoid(w[:, t].double())).exp()[..., None] \
            - outer(kk * rate, read(S, kk)) + outer(kt, v[:, t].double())
        return (S,), read(S, r[:, t].double())

    assert_close(op(r, w, k, v, a, k_k, k_a)[0], run(step, zeros(B, H, K, V), tokens=T))
    compare(op, (r, w, k, v, a, k_k, k_a))


def test_mamba3():
    op, R = example("mamba3").mamba3, 4
    q, k, v = draw(B, T, H, 2 * R), draw(B, T, H, 2 * R, seed=1), draw(B, T, H, V, seed=2)
    dt, trap = torch.sigmoid(draw(2, B, T, H, seed=3))
    angle = draw(B, T, H, R, seed=4)

    def turn(x, theta):
        z = torch.view_as_complex(x.double().reshape(*x.shape[:-1], R, 2))
        return torch.view_as_real(z * torch.polar(torch.ones_like(theta), theta)).flatten(-2)

    def step(states, t):
        S, theta, kp, vp = states
        d, m = dt[:, t, :, None].double(), trap[:, t, :, None].double()
        theta = theta + d * angle[:, t].double()
        kt, qt, vt, decay = turn(k[:, t], theta), turn(q[:, t], theta), v[:, t].double(), (-d).exp()
        S = decay[..., None] * S + outer(kp, (1 - m) * d * decay * vp) + outer(kt, m * d * vt)
        return (S, theta, kt, vt), read(S, qt)

    start = (zeros(B, H, 2 * R, V), zeros(B, H, R), zeros(B, H, 2 * R), zeros(B, H, V))
    assert_close(op(q, k, v, -dt, dt, trap, angle)[0], run(step, *start, tokens=T))
    compare(op, (q, k, v, -dt, dt, trap, angle))


def test_convolution():
    op = example("convolution").convolved
    q, k, v = draw(B, T, H, K), draw(B, T, H, K, seed=1), draw(B, T, H, V, seed=2)
    g, w = F.logsigmoid(draw(B, T, H, K, seed=3)), draw(H, 4, K, seed=4)
    padded = F.pad(k.double(), (0, 0, 0, 0, 3, 0))
    x = F.silu(sum(padded[:, i:i + T] * w[:, i].double() for i in range(4)))

    def step(states, t):
        S = states[0] * g[:, t, ..., None].double().exp() + outer(x[:, t], v[:, t].double())
        return (S,), read(S, q[:, t].double())

    assert_close(op(q, k, v, g, w)[0], run(step, zeros(B, H, K, V), tokens=T))
    compare(op, (q, k, v, g, w))


def test_own_variant():
    """A variant of no catalogue: its step is under 12 lines and its check passes."""
    op = example("own_variant").echo_delta
    assert op.check(verbose=False)
    q, k = draw(B, T, H, K), draw(B, T, H, K, seed=1)
    compare(op, (q, k, draw(B, T, H, V, seed=2), draw(B, T, H, K, seed=3), *draw(3, B, T, H, seed=4)))


def test_own_variant_is_short():
    lines = (EXAMPLES / "own_variant.py").read_text().split("@recurrence")[1].split("if __name__")[0]
    assert len([line for line in lines.splitlines() if line.strip()]) < 12
