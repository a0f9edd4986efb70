"""Decoding on a pool of states: indices, updates in place, and what is wrong with a call."""

import pytest
import torch

from fla.lang import State, Vec, load, outer, recurrence
from helpers import assert_close, gated_delta_inputs

gdr = load("gated_delta_rule")


def states(P, H=2, K=16, V=16, seed=3):
    return torch.randn(P, H, K, V, generator=torch.Generator().manual_seed(seed))


def one(inputs, n):
    return [x[n:n + 1] for x in inputs]


@pytest.mark.parametrize("form", ["chunk", "recurrent"])
@pytest.mark.parametrize("T", [1, 2, 5, 70])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_indices_choose_the_states(form, T, dtype):
    inputs, pool, chosen = gated_delta_inputs(3, T), states(7), [5, 0, 3]
    before = pool.clone()
    o, final = gdr(*inputs, initial_state=pool, state_indices=torch.tensor(chosen, dtype=dtype),
                   inplace_final_state=True, form=form)
    assert final is pool
    for n, i in enumerate(chosen):
        want, state = gdr(*one(inputs, n), initial_state=before[i:i + 1], output_final_state=True, form=form)
        assert torch.equal(o[n:n + 1], want) and torch.equal(pool[i:i + 1], state)
    others = [i for i in range(7) if i not in chosen]
    assert torch.equal(pool[others], before[others])


@pytest.mark.parametrize("form", ["chunk", "recurrent"])
def test_a_negative_index_skips_its_sequence(form):
    inputs, pool = gated_delta_inputs(3, 4), states(2)
    before = pool.clone()
    o, _ = gdr(*inputs, initial_state=pool, state_indices=torch.tensor([-1, 1, -1]), inplace_final_state=True, form=form)
    want, state = gdr(*one(inputs, 1), initial_state=before[1:], output_final_state=True, form=form)
    assert not o[0].any() and not o[2].any() and torch.equal(o[1:2], want)
    assert torch.equal(pool[0], before[0]) and torch.equal(pool[1:], state)


def test_reading_alone_leaves_the_pool_as_it_is():
    inputs, pool = gated_delta_inputs(3, 2), states(4)
    before = pool.clone()
    o, final = gdr(*inputs, initial_state=pool, state_indices=torch.tensor([2, 2, 0]))
    assert final is None and torch.equal(pool, before)
    assert torch.equal(o, gdr(*inputs, initial_state=before[[2, 2, 0]])[0])


def test_in_place_without_indices():
    inputs, start = gated_delta_inputs(2, 3), states(2)
    want = gdr(*inputs, initial_state=start.clone(), output_final_state=True)
    o, final = gdr(*inputs, initial_state=start, inplace_final_state=True)
    assert final is start and torch.equal(o, want[0]) and torch.equal(start, want[1])


def test_packed_sequences_have_indices_too():
    inputs, pool, offsets = gated_delta_inputs(1, 9), states(5), [0, 4, 4, 8]
    before = pool.clone()
    o, _ = gdr(*inputs, initial_state=pool, cu_seqlens=torch.tensor(offsets), state_indices=torch.tensor([4, 1, 0]),
               inplace_final_state=True)
    for i, a, b in ((4, 0, 4), (0, 4, 8)):
        want, state = gdr(*(x[:, a:b] for x in inputs), initial_state=before[i:i + 1], output_final_state=True)
        assert_close(o[:, a:b], want, 1e-6)
        assert_close(pool[i:i + 1], state, 1e-6)
    assert torch.equal(pool[1], before[1]) and not o[:, 8:].any()


def test_several_states_and_a_pool_that_is_a_view():
    gsa, r = load("gsa"), torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=r)  # noqa: E731
    inputs = {"q": draw(2, 1, 2, 16), "k": draw(2, 1, 2, 16), "v": draw(2, 1, 2, 8), "s": draw(2, 1, 2, 4),
              "g": -draw(2, 1, 2, 4).abs()}
    wide = draw(6, 3, 16, 4), draw(6, 5, 4, 8)
    pools = tuple(x[::2, :2] for x in wide)
    before = [x.clone() for x in wide]
    o, finals = gsa(**inputs, initial_state=pools, state_indices=torch.tensor([2, 1]), inplace_final_state=True)
    want, states_then = gsa(**inputs, initial_state=[b[::2, :2][[2, 1]] for b in before], output_final_state=True)
    assert finals[0] is pools[0] and finals[1] is pools[1] and torch.equal(o, want)
    for pool, state, whole, old in zip(pools, states_then, wide, before):
        assert torch.equal(pool[[2, 1]], state) and torch.equal(pool[0], old[0, :2])
        assert torch.equal(whole[1::2], old[1::2]) and torch.equal(whole[:, 2:], old[:, 2:])


def test_nothing_to_do():
    pool = states(3)
    before = pool.clone()
    o, final = gdr(*gated_delta_inputs(2, 0), initial_state=pool, state_indices=torch.tensor([0, 1]), inplace_final_state=True)
    assert o.shape == (2, 0, 2, 16) and final is pool and torch.equal(pool, before)


def test_decoding_equals_the_whole():
    """Token by token on a pool: the outputs and the state of one call."""
    inputs, pool = gated_delta_inputs(2, 12), torch.zeros(4, 2, 16, 16)
    indices = torch.tensor([3, 1], dtype=torch.int32)
    steps = [gdr(*(x[:, t:t + 1] for x in inputs), initial_state=pool, state_indices=indices, inplace_final_state=True)[0]
             for t in range(12)]
    want, state = gdr(*inputs, output_final_state=True)
    assert_close(torch.cat(steps, 1), want, 1e-5)
    assert_close(pool[[3, 1]], state, 1e-5)


def test_under_torch_compile():
    inputs, pool = gated_delta_inputs(2, 1), states(4)
    eager = pool.clone()

    def step(pool, indices, *xs):
        return gdr(*xs, initial_state=pool, state_indices=indices, inplace_final_state=True)[0] * 2

    indices = torch.tensor([3, 0])
    want = step(eager, indices, *inputs)
    got = torch.compile(step, fullgraph=True, backend="aot_eager")(pool, indices, *inputs)
    assert_close(got, want, 1e-6)
    assert_close(pool, eager, 1e-6)


pool, idx = states(4), torch.tensor([0, 1])
CALLS = {
    "a list of indices": (dict(initial_state=pool, state_indices=[0, 1]), TypeError,
                          r"state_indices: expected an int32 or int64 tensor \[N\] = \[2\], got list"),
    "indices of a wrong dtype": (dict(initial_state=pool, state_indices=idx.float()), TypeError,
                                 "state_indices: expected dtype int32 or int64, got torch.float32"),
    "too many indices": (dict(initial_state=pool, state_indices=torch.tensor([0, 1, 2])), ValueError,
                         r"state_indices: expected shape \[N\] = \[2\], got \[3\]"),
    "an index beyond the pool": (dict(initial_state=pool, state_indices=torch.tensor([0, 4])), ValueError,
                                 "state_indices: expected indices below 4, the states of the pool, got 4"),
    "an index twice": (dict(initial_state=pool, state_indices=torch.tensor([1, 1]), inplace_final_state=True), ValueError,
                       "state_indices: expected each state once where states are updated, got 1 twice"),
    "no pool": (dict(state_indices=idx), ValueError,
                r"state_indices: expected initial_state, all states of the definition \(S\), got None"),
    "nothing to update": (dict(inplace_final_state=True), ValueError,
                          r"inplace_final_state: expected initial_state, all states of the definition \(S\), got None"),
    "final states that nobody keeps": (dict(initial_state=pool, state_indices=idx, output_final_state=True), ValueError,
                                       "state_indices: expected inplace_final_state=True, which updates the pool, or"),
    "a pool of a wrong shape": (dict(initial_state=pool[:, :1], state_indices=idx), ValueError,
                                r"initial_state 'S': expected shape \[P, H, K, V\] = \[4, 2, 16, 16\], got \[4, 1, 16, 16\]"),
    "as many states as sequences without indices": (dict(initial_state=pool, inplace_final_state=True), ValueError,
                                                    r"initial_state 'S': expected shape \[N, H, K, V\] = \[2, 2, 16, 16\]"),
    "states of another dtype": (dict(initial_state=pool[:2].double(), inplace_final_state=True), TypeError,
                                "expected dtype torch.float32 of a state that is updated in place, got torch.float64"),
    "transposed states": (dict(initial_state=pool[:2].mT, inplace_final_state=True), ValueError,
                          r"expected contiguous states \(the last 2 axes\) to update in place, got strides"),
    "one state for all": (dict(initial_state=pool[:1].expand(2, -1, -1, -1), inplace_final_state=True), ValueError,
                          "expected states that share no memory to update in place, got strides"),
    "gradients": (dict(initial_state=pool.clone().requires_grad_(), state_indices=idx), ValueError,
                  "state_indices: expected a call without gradients"),
}


@pytest.mark.parametrize("case", CALLS)
def test_bad_calls(case):
    kwargs, kind, message = CALLS[case]
    with pytest.raises(kind, match=message):
        gdr(*gated_delta_inputs(2, 3), **kwargs)


def test_heads_that_share_a_state():
    @recurrence
    def shared(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
        S = S + outer(k, v)
        return S, S.T @ q

    q, k, v = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 2, 8), torch.randn(1, 2, 2, 8)
    with pytest.raises(ValueError, match="expected a state for each of the call's 4 heads, got 2 of state 'S', which heads share"):
        shared(q, k, v, initial_state=torch.zeros(1, 2, 8, 8), inplace_final_state=True)
