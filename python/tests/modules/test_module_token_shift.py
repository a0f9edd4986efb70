"""Token shift against its definition: batches, packed sequences, the cache in and out."""

import pytest
import torch

from fla.modules.token_shift import TokenShift, token_shift, token_shift_bwd, token_shift_fwd, token_shift_ref

BOUNDS = [0, 0, 3, 4, 4, 9]


def definition(x, bounds, cache):
    """y_t = x_{t-1} - x_t row by row; the cache stands before the first of each sequence."""
    out = torch.empty_like(x)
    last = cache.clone()
    for n, (start, end) in enumerate(zip(bounds, bounds[1:])):
        for t in range(start, end):
            out[0, t] = last[n] - x[0, t]
            last[n] = x[0, t]
    return out, last


@pytest.mark.parametrize("has_cache", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_packed_sequences(has_cache, dtype):
    torch.manual_seed(0)
    x, cache = torch.randn(1, 9, 4), torch.randn(5, 4)
    cache = cache if has_cache else torch.zeros_like(cache)
    cu_seqlens = torch.tensor(BOUNDS, dtype=dtype)
    y, last = token_shift(x, cu_seqlens, cache if has_cache else None, output_cache=True)
    ry, rlast = definition(x, BOUNDS, cache)
    assert torch.equal(y, ry) and torch.equal(last, rlast)
    if not has_cache:
        assert torch.equal(token_shift_ref(x, cu_seqlens), ry)


@pytest.mark.parametrize("rows", [0, 1, 6])
@pytest.mark.parametrize("has_cache", [False, True])
def test_a_batch_is_its_rows_as_sequences(rows, has_cache):
    torch.manual_seed(1)
    x, cache = torch.randn(3, rows, 4), torch.randn(3, 4) if has_cache else None
    y, last = token_shift(x, None, cache, output_cache=True)
    packed, plast = token_shift(x.reshape(1, -1, 4), torch.arange(4) * rows, cache, output_cache=True)
    assert torch.equal(y, packed.view_as(y)) and torch.equal(last, plast)
    if not has_cache:
        assert torch.equal(y, token_shift_ref(x))


def test_a_sequence_in_two_parts_is_the_sequence():
    torch.manual_seed(2)
    x = torch.randn(2, 7, 4)
    first, cache = token_shift(x[:, :3], output_cache=True)
    for held in (cache, cache.unsqueeze(1)):
        assert torch.equal(torch.cat([first, token_shift(x[:, 3:], cache=held)], 1), token_shift(x))


def test_rows_past_the_last_boundary_reach_no_sequence():
    x = torch.randn(1, 6, 2)
    changed = x.clone()
    changed[:, 4:] = 9.0
    cu_seqlens = torch.tensor([0, 1, 4])
    for a, b in zip(token_shift(x, cu_seqlens, output_cache=True), token_shift(changed, cu_seqlens, output_cache=True)):
        assert torch.equal(a[..., :4, :], b[..., :4, :])


@pytest.mark.parametrize("packed", [False, True])
def test_gradients(packed):
    torch.manual_seed(3)
    x = torch.randn(1 if packed else 2, 9, 2, dtype=torch.float64, requires_grad=True)
    cache = torch.randn(5 if packed else 2, 2, dtype=torch.float64, requires_grad=True)
    cu_seqlens = torch.tensor(BOUNDS) if packed else None
    assert torch.autograd.gradcheck(lambda x, c: token_shift(x, cu_seqlens, c, True), (x, cache))
    y, last = TokenShift.apply(x, cu_seqlens, cache, True)
    dy, dlast = torch.randn_like(y), torch.randn_like(last)
    expected = torch.autograd.grad((y, last), (x, cache), (dy, dlast))
    _, n, t, short, _ = token_shift_fwd(x, cu_seqlens, cache, True)
    got = token_shift_bwd(dy, n, t, dlast, cu_seqlens, short, has_init_cache=True)
    assert (n, t) == ((5, 5) if packed else (2, 9))
    for a, b in zip(got, expected):
        torch.testing.assert_close(a, b)


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\[B, T, D\], got \(3, 4\)"):
        token_shift(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="batch size of 1"):
        token_shift(torch.zeros(2, 3, 4), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"from 0 up to at most T=3, got \[0, 2, 1\]"):
        token_shift(torch.zeros(1, 3, 4), torch.tensor([0, 2, 1]))
