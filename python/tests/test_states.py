"""Carrying states: cutting, packing, resets, several states, and isolation of NaN."""

import pytest
import torch

from fla.lang import Scalar, State, Vec, dims, exp, logaddexp, maximum, outer, recurrence, softmax
from helpers import assert_close, compare, gated_delta_inputs, leaf

K, V, M, D = dims("K", "V", "M", "D")


@recurrence
def gdr(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V], g: Scalar, beta: Scalar):
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, S.T @ q


@recurrence
def gsa(Hk: State[K, M], Hv: State[M, V], q: Vec[K], k: Vec[K], v: Vec[V], s: Vec[M], g: Vec[M]):
    Hk = exp(g) * Hk + outer(k, s)
    Hv = exp(g) * Hv + outer(s, v)
    return (Hk, Hv), Hv.T @ softmax(Hk.T @ q)


@recurrence
def shift(S: State[K, V], last: State[K], z: State[K](init=-float("inf")), q: Vec[K], k: Vec[K], v: Vec[V]):
    """Token shift and a running logsumexp beside a matrix state."""
    z2 = logaddexp(z, k)
    S = S + outer(last, v)
    return (S, k, z2), S.T @ q + 0 * v, z2


@recurrence
def running(m: State[D](init=-float("inf")), h: State[D], x: Vec[D], g: Vec[D]):
    m2 = maximum(m + g, x)
    h = exp(m + g - m2) * h + exp(x - m2)
    return (m2, h), h


def gsa_inputs(B=1, T=70, H=2):
    r = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, B, T, H, 8, generator=r)
    g = -torch.rand(B, T, H, 4, generator=r)
    return [q, k, v, 1 - g.exp(), g]


CASES = {"gdr": (gdr, lambda: gated_delta_inputs(B=1, T=130)), "gsa": (gsa, lambda: gsa_inputs(T=130)),
         "shift": (shift, lambda: gated_delta_inputs(B=1, T=130)[:3]),
         "running": (running, lambda: [torch.randn(1, 130, 2, 6), -torch.rand(1, 130, 2, 6)])}


def states(final):
    return list(final) if isinstance(final, tuple) else [final]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["chunk", "recurrent"])
def test_cutting_changes_nothing(name, form):
    op, make = CASES[name]
    args = [leaf(x) for x in make()]
    *whole, end = op(*args, output_final_state=True, form=form)
    for cut in (1, 64, 77):
        *first, middle = op(*(x[:, :cut] for x in args), output_final_state=True, form=form)
        *second, last = op(*(x[:, cut:] for x in args), initial_state=middle, output_final_state=True, form=form)
        joined = [torch.cat([a, b], 1) for a, b in zip(first, second)]
        for a, b in zip([*joined, *states(last)], [*whole, *states(end)]):
            assert_close(a, b, 1e-5)
        weight = torch.linspace(-1, 1, 130)[None, :, None, None]
        got = torch.autograd.grad(sum((o * weight).sum() for o in joined), args, allow_unused=True)
        want = torch.autograd.grad(sum((o * weight).sum() for o in whole), args, allow_unused=True, retain_graph=True)
        for a, b in zip(got, want):
            assert_close(torch.zeros(1) if a is None else a, torch.zeros(1) if b is None else b, 3e-5)


@pytest.mark.parametrize("name", CASES)
def test_packed_sequences_equal_separate_ones(name):
    op, make = CASES[name]
    offsets = torch.tensor([0, 1, 1, 70, 120])
    args = [leaf(x) for x in make()]
    *packed, final = op(*args, cu_seqlens=offsets, output_final_state=True)
    for i, (a, b) in enumerate(zip(offsets[:-1], offsets[1:])):
        *alone, end = op(*(x[:, a:b] for x in args), output_final_state=True)
        for p, o in zip(packed, alone):
            assert_close(p[:, a:b], o)
        for p, o in zip(states(final), states(end)):
            assert_close(p[i:i + 1].nan_to_num(neginf=-1e30), o.nan_to_num(neginf=-1e30))
    assert all(torch.equal(o[:, 120:], torch.zeros_like(o[:, 120:])) for o in packed)
    grads = torch.autograd.grad(sum(o.sum() for o in packed), args, allow_unused=True)
    assert all(d is None or torch.equal(d[:, 120:], torch.zeros_like(d[:, 120:])) for d in grads)


def test_packed_gradients():
    args = gated_delta_inputs(B=1, T=100)
    for dtype in (torch.int32, torch.int64):
        compare(gdr, args, cu_seqlens=torch.tensor([0, 0, 33, 64, 64, 100], dtype=dtype),
                initial_state=torch.randn(5, 2, 16, 16))


def test_initial_states_get_gradients():
    compare(gdr, gated_delta_inputs(T=50), initial_state=torch.randn(2, 2, 16, 16))
    compare(gsa, gsa_inputs(), initial_state=(torch.randn(1, 2, 8, 4), torch.randn(1, 2, 4, 8)))


def test_several_states_are_tuples_in_the_steps_order():
    o, final = gsa(*gsa_inputs(), output_final_state=True)
    assert isinstance(final, tuple) and [tuple(s.shape) for s in final] == [(1, 2, 8, 4), (1, 2, 4, 8)]
    o2, _ = gsa(*gsa_inputs(), initial_state=list(final))
    assert not torch.equal(o, o2)
    one, _ = gsa(*gsa_inputs(), initial_state=(final[0], None))
    assert not torch.equal(one, o2)


def test_final_states_do_not_alias_initial_ones():
    start = torch.randn(1, 2, 16, 16)
    for T in (0, 3):
        _, final = gdr(*gated_delta_inputs(B=1, T=T), initial_state=start, output_final_state=True)
        assert final.data_ptr() != start.data_ptr()


@pytest.mark.parametrize("form", ["chunk", "recurrent"])
def test_a_log_gate_of_minus_infinity_resets(form):
    q, k, v, g, beta = gated_delta_inputs(B=1, T=90)
    g[:, 40] = -float("inf")
    o, final = gdr(q, k, v, g, beta, output_final_state=True, form=form)
    alone, end = gdr(*(x[:, 40:] for x in (q, k, v, g, beta)), output_final_state=True, form=form)
    assert_close(o[:, 40:], alone)
    assert_close(final, end)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_stay_in_their_sequence_and_head(bad):
    args = gated_delta_inputs(B=2, T=70)
    want = gdr(*args)[0]
    args[2] = args[2].clone()
    args[2][1, 30, 1, 3] = bad
    got = gdr(*args)[0]
    assert torch.equal(got[0], want[0]) and torch.equal(got[1, :, 0], want[1, :, 0])
    assert torch.equal(got[1, :30, 1], want[1, :30, 1])


def test_bad_numbers_stay_in_their_packed_sequence():
    args = gated_delta_inputs(B=1, T=70)
    offsets = torch.tensor([0, 20, 45, 70])
    want = gdr(*args, cu_seqlens=offsets)[0]
    args[1] = args[1].clone()
    args[1][0, 30] = float("nan")
    got = gdr(*args, cu_seqlens=offsets)[0]
    assert torch.equal(got[:, :20], want[:, :20]) and torch.equal(got[:, 45:], want[:, 45:])


def test_both_forms_agree_and_auto_goes_by_shape():
    short, long = gated_delta_inputs(T=8), gated_delta_inputs(T=100)
    for args, form in ((short, "recurrent"), (long, "chunk")):
        assert torch.equal(gdr(*args)[0], gdr(*args, form=form)[0])
        assert_close(gdr(*args, form="chunk")[0], gdr(*args, form="recurrent")[0])
    assert torch.equal(gdr.chunk(*short)[0], gdr(*short, form="chunk")[0])
    assert torch.equal(gdr.recurrent(*long)[0], gdr(*long, form="recurrent")[0])


@pytest.mark.parametrize("chunk", [16, 32, 64])
def test_chunk_sizes(chunk):
    args = gated_delta_inputs(T=100)
    assert_close(gdr(*args, chunk_size=chunk)[0], gdr(*args, form="recurrent")[0])


def test_results_repeat_bit_for_bit():
    args = gated_delta_inputs(T=200, H=4)
    runs = []
    for threads in (1, 2, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            leaves = [leaf(x) for x in args]
            o, _ = gdr(*leaves)
            runs.append([o, *torch.autograd.grad(o.sin().sum(), leaves)])
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(run, runs[0]))
