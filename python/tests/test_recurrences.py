"""Kinds of recurrences written in Python, against the token loop: outputs, states, gradients."""

import pytest
import torch

from fla.lang import (Param, Scalar, State, Vec, assume, cols, dims, dot, exp, l2norm, logaddexp, logsigmoid, maximum,
                      outer, recurrence, rmsnorm, rows, sigmoid, softmax, softplus)
from helpers import compare

K, V, M, D = dims("K", "V", "M", "D")
T, H = 70, 2


def draw(*shape, seed=0):
    return torch.randn(1, T, H, *shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(draw(*shape, seed=seed), dim=-1)


def log_gate(*shape, seed=0):
    return torch.nn.functional.logsigmoid(draw(*shape, seed=seed))


def test_linear_attention():
    @recurrence
    def step(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V]):
        S = S + outer(k, v)
        return S, S.T @ q

    compare(step, (draw(8), draw(8, seed=1), draw(6, seed=2)), initial_state=torch.randn(1, H, 8, 6))


def test_normaliser():
    @recurrence
    def step(S: State[K, V], z: State[K], q: Vec[K], k: Vec[K], v: Vec[V]):
        q, k = exp(q), exp(k)
        S, z = S + outer(k, v), z + k
        return (S, z), (S.T @ q) / (q @ z + 1e-6)

    compare(step, (draw(8), draw(8, seed=1), draw(6, seed=2)))


@pytest.mark.parametrize("kind", ["constant", "scalar", "rows", "columns", "both"])
def test_gates(kind):
    @recurrence
    def step(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], g: Scalar, gk: Vec[K], gv: Vec[V], *, kind: str):
        decay = {"constant": lambda S: 0.9 * S, "scalar": lambda S: exp(g) * S, "rows": lambda S: exp(gk) * S,
                 "columns": lambda S: S * exp(gv), "both": lambda S: exp(gv) * (exp(gk) * S)}[kind]
        S = decay(S) + outer(k, v)
        return S, S.T @ q

    args = draw(8), draw(8, seed=1), draw(6, seed=2), log_gate(seed=3), log_gate(8, seed=4), log_gate(6, seed=5)
    compare(step, args, {"kind": kind})


def test_gates_from_other_functions():
    @recurrence
    def step(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], a: Vec[K], b: Scalar, A: Param[K]):
        S = sigmoid(a) * S
        S = exp(-softplus(b)) * S
        S = exp(logsigmoid(a) * assume(A, 0, 4)) * S
        S = 0.99 * S + outer(k, v)
        return S, S.T @ q

    compare(step, (draw(8), draw(8, seed=1), draw(6, seed=2), draw(8, seed=3), draw(seed=4), torch.rand(H, 8)))


def test_delta_rule_before_the_decay():
    @recurrence
    def comba(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], p: Vec[K], g: Scalar, beta: Scalar):
        u = S.T @ p
        S = exp(g) * S + outer(k, beta * (v - u))
        return S, S.T @ (q - 0.1 * p)

    compare(comba, (draw(8), unit(8, seed=1), draw(6, seed=2), 0.2 * unit(8, seed=3), log_gate(seed=4),
                    torch.rand(1, T, H)))


def test_kda():
    @recurrence
    def kda(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], g: Vec[K], beta: Scalar):
        S = exp(g) * S
        S = S + outer(k, beta * (v - S.T @ k))
        return S, S.T @ q

    compare(kda, (draw(8), unit(8, seed=1), draw(6, seed=2), log_gate(8, seed=3), torch.rand(1, T, H)),
            initial_state=torch.randn(1, H, 8, 6))


def test_diagonal_plus_low_rank():
    @recurrence
    def dplr(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], a: Vec[K], b: Vec[K], g: Vec[K]):
        u = S.T @ a
        S = exp(g) * S + outer(b, u) + outer(k, v)
        return S, S.T @ q

    compare(dplr, (draw(8), draw(8, seed=1), draw(6, seed=2), unit(8, seed=3), -0.3 * unit(8, seed=3),
                   log_gate(8, seed=4)))


def test_oja_feeds_reads_from_the_right():
    @recurrence
    def oja(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], g: Vec[V], beta: Scalar):
        S = exp(g) * S
        S = S + outer(beta * (k - S @ v), v)
        return S, S.T @ q

    compare(oja, (draw(8), draw(8, seed=1), unit(6, seed=2), log_gate(6, seed=3), torch.rand(1, T, H)))


def test_rwkv6_reads_before_its_write():
    @recurrence
    def rwkv6(S: State[K, V], r: Vec[K], k: Vec[K], v: Vec[V], w: Vec[K], u: Param[K]):
        o = (S + outer(u * k, v)).T @ r
        S = exp(w) * S + outer(k, v)
        return S, o

    compare(rwkv6, (draw(8), draw(8, seed=1), draw(6, seed=2), log_gate(8, seed=3), torch.randn(H, 8)))


def test_rwkv4_with_its_running_maximum():
    @recurrence
    def rwkv4(num: State[D], den: State[D], m: State[D](init=-float("inf")), k: Vec[D], v: Vec[D], w: Param[D],
              u: Param[D]):
        top = maximum(m, u + k)
        o = (exp(m - top) * num + exp(u + k - top) * v) / (exp(m - top) * den + exp(u + k - top))
        top = maximum(m + w, k)
        num = exp(m + w - top) * num + exp(k - top) * v
        den = exp(m + w - top) * den + exp(k - top)
        return (num, den, top), o

    compare(rwkv4, (5 * draw(8), draw(8, seed=1), -torch.rand(H, 8), torch.randn(H, 8)))


def test_logsumexp_states():
    @recurrence
    def lightnet(S: State[K, V], z: State[K](init=-float("inf")), q: Vec[K], k: Vec[K], v: Vec[V]):
        z2 = logaddexp(z, k)
        S = exp(z - z2) * S + outer(exp(k - z2), v)
        return (S, z2), S.T @ q

    compare(lightnet, (draw(8), draw(8, seed=1), draw(6, seed=2)))


def test_abc():
    @recurrence
    def abc(Hk: State[K, M], Hv: State[M, V], z: State[M](init=-float("inf")), q: Vec[K], k: Vec[K], v: Vec[V],
            s: Vec[M]):
        z2 = logaddexp(z, s)
        a, w = exp(z - z2), exp(s - z2)
        Hk = a * Hk + outer(k, w)
        Hv = a * Hv + outer(w, v)
        return (Hk, Hv, z2), Hv.T @ softmax(Hk.T @ q)

    compare(abc, (draw(8), draw(8, seed=1), draw(6, seed=2), draw(4, seed=3)))


def test_a_state_that_scales_the_next_keys():
    @recurrence
    def preconditioned(S: State[K, V], A: State[K], q: Vec[K], k: Vec[K], v: Vec[V], g: Scalar, beta: Scalar):
        A = exp(g) * A + beta * (k * k)
        S = exp(g) * S
        S = S + outer(k / (1 + A), beta * (v - S.T @ k))
        return (S, A), S.T @ q

    compare(preconditioned, (draw(8), unit(8, seed=1), draw(6, seed=2), log_gate(seed=3), torch.rand(1, T, H)))


def test_square_states():
    @recurrence
    def square(S: State[K, K], q: Vec[K], k: Vec[K], v: Vec[K], a: Vec[K], b: Vec[K]):
        S = rows(exp(a)) * S
        S = S * cols(exp(b))
        S = S + outer(k, v)
        return S, S.T @ q, S @ q

    compare(square, (draw(8), draw(8, seed=1), draw(8, seed=2), log_gate(8, seed=3), log_gate(8, seed=4)))


def test_delta_rule_on_a_square_state():
    @recurrence
    def delta(S: State[K, K], q: Vec[K], k: Vec[K], v: Vec[K], w: Vec[K], beta: Scalar):
        S = cols(assume(w, 0, 1)) * S
        S = S + outer(k, beta * (v - S.T @ k))
        return S, q + S.T @ q

    compare(delta, (draw(8), unit(8, seed=1), draw(8, seed=2), log_gate(8, seed=3).exp(), torch.rand(1, T, H)))


def test_outputs_after_the_read():
    @recurrence
    def normed(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], w: Param[V], o: Vec[V]):
        S = S + outer(l2norm(k), v)
        y = S.T @ l2norm(q)
        return S, rmsnorm(y, w) * sigmoid(o), dot(y, y)

    compare(normed, (draw(8), draw(8, seed=1), draw(6, seed=2), torch.randn(H, 6), draw(6, seed=3)))
