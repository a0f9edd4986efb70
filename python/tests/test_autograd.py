"""Gradients, torch.compile, opcheck, checkpointing, autocast."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from fla import knobs
from fla.lang import Param, Scalar, State, Vec, dims, exp, load, outer, recurrence, softmax
from helpers import assert_close, compare, gated_delta_inputs, leaf

K, V, M = dims("K", "V", "M")


@recurrence
def gdr(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], g: Scalar, beta: Scalar, *, scale: float = 1.0):
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, scale * (S.T @ q)


@recurrence
def gsa(Hk: State[K, M], Hv: State[M, V], q: Vec[K], k: Vec[K], v: Vec[V], s: Vec[M], g: Vec[M], u: Param[K]):
    Hk = exp(g) * Hk + outer(k, s)
    Hv = exp(g) * Hv + outer(s, v)
    return (Hk, Hv), Hv.T @ softmax(Hk.T @ (u * q)), u * q


def gsa_inputs(T=70):
    r = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, T, 2, 8, generator=r)
    g = -torch.rand(2, T, 2, 4, generator=r)
    return [q, k, v, 1 - g.exp(), g, torch.randn(2, 8, generator=r)]


@pytest.mark.parametrize("form", ["chunk", "recurrent"])
def test_gradients_in_both_forms(form):
    compare(gdr, gated_delta_inputs(T=130), {"scale": 0.3}, torch.randn(2, 2, 16, 16), form=form)
    compare(gsa, gsa_inputs(), None, (torch.randn(2, 2, 8, 4), torch.randn(2, 2, 4, 8)), form=form)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.bfloat16, 5e-3), (torch.float16, 1e-3)])
def test_gradients_in_other_dtypes(dtype, tolerance):
    args = [x.to(dtype) for x in gated_delta_inputs(dtype=torch.float64)]
    compare(gdr, args, forward=tolerance, backward=tolerance)


@pytest.mark.parametrize("states", ["save", "recompute", "auto"])
def test_states_are_saved_or_recomputed(states):
    with knobs.override(states=states):
        compare(gdr, gated_delta_inputs(T=130), initial_state=torch.randn(2, 2, 16, 16))
        compare(gsa, gsa_inputs())


def test_the_knob_is_checked():
    with knobs.override(states="sometimes"), pytest.raises(ValueError, match="expected one of auto, save, recompute"):
        gdr(*[leaf(x) for x in gated_delta_inputs()])
    with pytest.raises(ValueError, match="expected a knob"):
        with knobs.override(speed="high"):
            pass


def test_only_what_needs_it_gets_a_gradient():
    args = gated_delta_inputs()
    q = leaf(args[0])
    o, final = gdr(q, *args[1:], output_final_state=True)
    (o.sum() + final.sum()).backward()
    assert q.grad is not None and all(x.grad is None for x in args[1:])
    with torch.no_grad():
        assert not gdr(q, *args[1:])[0].requires_grad
    assert not gdr(*args)[0].requires_grad


def test_unused_results():
    args = [leaf(x) for x in gated_delta_inputs()]
    _, final = gdr(*args, output_final_state=True)
    grads = torch.autograd.grad(final.sum(), args)
    assert torch.equal(grads[0], torch.zeros_like(args[0])) and grads[1].abs().sum() > 0


def test_double_backward_raises_clearly():
    args = [leaf(x) for x in gated_delta_inputs()]
    first = torch.autograd.grad(gdr(*args)[0].sum(), args[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match=r"gdr: expected a single backward, got a double one"):
        first.sum().backward()


def test_gradient_checkpointing():
    args = [leaf(x) for x in gated_delta_inputs()]
    block = lambda *xs: gdr(*xs)[0].tanh()
    want = torch.autograd.grad(block(*args).sum(), args)
    got = torch.autograd.grad(checkpoint(block, *args, use_reentrant=False).sum(), args)
    assert all(torch.equal(a, b) for a, b in zip(got, want))
    checkpoint(block, *args, use_reentrant=True).sum().backward()
    assert all(torch.equal(x.grad, b) for x, b in zip(args, want))


def test_autocast_changes_nothing():
    args = [leaf(x) for x in gated_delta_inputs()]
    want = gdr(*args)[0]
    with torch.autocast("cpu", torch.bfloat16):
        got = gdr(*args)[0]
    assert got.dtype == torch.float32 and torch.equal(got, want)
    assert all(torch.equal(a, b) for a, b in zip(torch.autograd.grad(got.sum(), args),
                                                 torch.autograd.grad(want.sum(), args)))


def test_gradcheck():
    args = [leaf(x) for x in gated_delta_inputs(B=1, T=20, H=1, K=3, V=2, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda *xs: gdr(*xs, output_final_state=True, form="chunk", chunk_size=16), args)


# torch.compile and torch.library.
def operands(op, *args, **kwargs):
    """(operators, operands of the forward operator) of a call."""
    operators, bound, form = op.bind(*args, **kwargs)
    free = " ".join(str(bound.sizes[n]) for n in operators.free)
    return operators, (*bound.tensors.values(), *bound.initial, *bound.values.values(), kwargs.get("cu_seqlens"), free,
                       "chunk", 0, True)


@pytest.mark.parametrize("case", ["plain", "initial", "packed", "parameters"])
def test_opcheck(case):
    kwargs, op, args = {}, gdr, [leaf(x) for x in gated_delta_inputs(B=1, T=40, H=2, K=4, V=4)]
    if case == "initial":
        kwargs = {"initial_state": torch.randn(1, 2, 4, 4, requires_grad=True)}
    if case == "packed":
        kwargs = {"cu_seqlens": torch.tensor([0, 7, 7, 30])}
    if case == "parameters":
        op, args = gsa, [leaf(x) for x in gsa_inputs(T=20)]
    operators, flat = operands(op, *args, **kwargs)
    for operator in (operators.forward, operators.saving):
        results = torch.library.opcheck(operator, flat)
        assert set(results.values()) == {"SUCCESS"}


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("dynamic", [False, None])
def test_compile_fullgraph(fresh_compiler, dynamic):
    def layer(q, k, v, g, beta, start):
        o, final = gdr(2 * q, k, v, g, beta, scale=0.5, initial_state=start, output_final_state=True)
        o, nothing = gdr(o.tanh(), k, v, g, beta)
        assert nothing is None
        return o, final

    compiled = torch.compile(layer, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for T in (70, 90):
        args = [leaf(x) for x in gated_delta_inputs(T=T)] + [torch.randn(2, 2, 16, 16, requires_grad=True)]
        got, want = compiled(*args), layer(*args)
        for a, b in zip(got, want):
            assert_close(a, b, 1e-6)
        total = lambda xs: sum(x.sin().sum() for x in xs)
        for a, b in zip(torch.autograd.grad(total(got), args), torch.autograd.grad(total(want), args)):
            assert_close(a, b, 1e-5)


def test_compile_with_inductor(fresh_compiler):
    load("gla")  # a file is read outside the graph, once

    def layer(q, k, v, g, offsets):
        return load("gla")(q * 2, k, v, g, cu_seqlens=offsets)[0].relu()

    r = torch.Generator().manual_seed(0)
    q, k, v = (leaf(x) for x in torch.randn(3, 1, 50, 2, 8, generator=r))
    args = (q, k, v, leaf(-torch.rand(1, 50, 2, 8)), torch.tensor([0, 20, 45]))
    got, want = torch.compile(layer, fullgraph=True)(*args), layer(*args)
    assert_close(got, want, 1e-6)
    for a, b in zip(torch.autograd.grad(got.sum(), args[:4]), torch.autograd.grad(want.sum(), args[:4])):
        assert_close(a, b, 1e-6)


def test_compile_under_checkpointing(fresh_compiler):
    def block(*xs):
        return checkpoint(lambda *ys: gdr(*ys)[0].tanh(), *xs, use_reentrant=False)

    args = [leaf(x) for x in gated_delta_inputs()]
    got = torch.autograd.grad(torch.compile(block, fullgraph=True, backend="aot_eager")(*args).sum(), args)
    for a, b in zip(got, torch.autograd.grad(block(*args).sum(), args)):
        assert_close(a, b, 1e-5)


def test_in_a_module_that_trains():
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.out = torch.nn.Linear(8, 3 * 8 + 2), torch.nn.Linear(8, 8)

        def forward(self, x):
            q, k, v, g, b = self.inner(x).unsqueeze(2).split((8, 8, 8, 1, 1), -1)
            k = torch.nn.functional.normalize(k, dim=-1)
            g = torch.nn.functional.logsigmoid(g.squeeze(-1))
            return self.out(gdr(q, k, v, g, b.squeeze(-1).sigmoid())[0].squeeze(2))

    torch.manual_seed(0)
    layer, x, y = Layer(), torch.randn(4, 40, 8), torch.randn(4, 40, 8).cumsum(1).tanh()
    optimiser = torch.optim.Adam(layer.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = (layer(x) - y).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
