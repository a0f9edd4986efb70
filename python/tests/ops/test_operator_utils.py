"""fla.ops.utils: sums, packing, pooling, offsets, inverses."""

import pytest
import torch
from helpers import assert_close, leaf

from fla.ops import utils
from fla.ops.comba.utils import chunk_comba_cumsum_scalar_fwd
from fla.ops.common.gate import fused_beta_sigmoid
from fla.ops.utils.constant import LN2, RCP_LN2

OFFSETS = [0, 5, 5, 6, 40]


def packed():
    return torch.tensor(OFFSETS)


def pieces(chunk=None, offsets=OFFSETS):
    """(start, end) of the sequences, or of their chunks."""
    for a, b in zip(offsets, offsets[1:]):
        if chunk is None:
            if b > a:
                yield a, b
        else:
            yield from ((i, min(i + chunk, b)) for i in range(a, b, chunk))


@pytest.mark.parametrize("shape", [(1, 43, 3), (1, 43, 3, 5)], ids=["scalar", "vector"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("varlen", [False, True])
def test_sums(shape, reverse, varlen):
    s = torch.randn(shape, dtype=torch.float64)
    offsets = OFFSETS if varlen else [0, 43]
    given = {"cu_seqlens": packed()} if varlen else {}
    sums = lambda x: x.flip(1).cumsum(1).flip(1) if reverse else x.cumsum(1)
    kind = "scalar" if len(shape) == 3 else "vector"
    want = torch.zeros_like(s)
    for a, b in pieces(offsets=offsets):
        want[:, a:b] = sums(s[:, a:b])
    for f in (utils.chunk_global_cumsum, getattr(utils, f"chunk_global_cumsum_{kind}")):
        assert_close(f(s, reverse, output_dtype=None, scale=2.0, **given), 2 * want, 1e-12)
    want = torch.zeros_like(s)
    for a, b in pieces(16, offsets):
        want[:, a:b] = sums(s[:, a:b])
    for f in (utils.chunk_local_cumsum, getattr(utils, f"chunk_local_cumsum_{kind}")):
        assert_close(f(s, 16, reverse, output_dtype=None, scale=0.5, **given), 0.5 * want, 1e-12)


def test_sums_are_in_float32_and_refuse_other_shapes():
    s = torch.full((1, 4000, 1), 1.0, dtype=torch.float16)
    assert utils.chunk_global_cumsum(s)[0, -1, 0] == 4000 and utils.chunk_global_cumsum(s).dtype == torch.float32
    assert utils.chunk_global_cumsum(s, output_dtype=None).dtype == torch.float16
    with pytest.raises(ValueError, match=r"expected shape \[B, T, H\] or \[B, T, H, D\], got \[4\]"):
        utils.chunk_global_cumsum(torch.ones(1, 4)[0])
    with pytest.raises(ValueError, match=r"expected shape \[B, T, H, D\]"):
        utils.chunk_local_cumsum_vector(s, 16)
    with pytest.raises(ValueError, match="chunk_size: expected a power of two"):
        utils.chunk_local_cumsum(s, 24)
    with pytest.raises(ValueError, match="expected batch size 1"):
        utils.chunk_global_cumsum(torch.ones(2, 4, 1), cu_seqlens=torch.tensor([0, 4]))
    with pytest.raises(DeprecationWarning):
        utils.chunk_global_cumsum(s, head_first=True)


def test_sums_before_and_after_a_token():
    g = torch.randn(1, 43, 3)
    before, after = chunk_comba_cumsum_scalar_fwd(g, 16)
    assert_close(after, utils.chunk_local_cumsum(g, 16), 1e-7)
    assert_close(after - before, g, 1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_packing_and_back(side):
    lens = [3, 0, 7, 5]
    offsets = torch.tensor([0, 3, 3, 10, 15])
    x = leaf(torch.randn(4, 7, 2, 3))
    rows = [x[i, 7 - n:] if side == "left" else x[i, :n] for i, n in enumerate(lens)]
    y = utils.pack_sequence(x, offsets, side)
    assert torch.equal(y, torch.cat(rows))
    back = utils.unpack_sequence(y, offsets, side)
    dy = torch.randn_like(back)
    counted = utils.unpack_sequence(torch.ones(15, 2, 3), offsets, side)
    assert torch.equal(back, x * counted) and back.shape == x.shape
    assert torch.equal(torch.autograd.grad(back, x, dy)[0], dy * counted)
    wide = utils.unpack_sequence(y, offsets, side, desired_shape=(4, 9, 2, 3))
    assert wide.shape == (4, 9, 2, 3) and torch.allclose(wide.sum(), back.sum())
    with pytest.raises(ValueError, match="padding_side: expected 'left' or 'right', got 'both'"):
        utils.pack_sequence(x, offsets, "both")
    with pytest.raises(ValueError, match="desired_shape"):
        utils.unpack_sequence(y, offsets, side, desired_shape=(3, 9, 2, 3))


@pytest.mark.parametrize("varlen", [False, True])
def test_pooling(varlen):
    x = leaf(torch.randn(1, 40, 2, 3, dtype=torch.float64))
    offsets = OFFSETS if varlen else [0, 40]
    want = torch.stack([x[:, a:b].mean(1) for a, b in pieces(16, offsets)], 1)
    got = utils.mean_pooling(x, 16, packed() if varlen else None)
    assert_close(got, want, 1e-12)
    do = torch.randn_like(want)
    assert_close(torch.autograd.grad(got, x, do)[0], torch.autograd.grad(want, x, do)[0], 1e-12)


def test_offsets_and_lengths():
    offsets = packed()
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]], dtype=torch.bool)
    assert utils.prepare_lens(offsets).tolist() == utils.prepare_lens_from_cu_seqlens(offsets).tolist() == [5, 0, 1, 34]
    assert utils.prepare_lens_from_mask(mask).tolist() == [2, 3]
    assert utils.prepare_cu_seqlens_from_lens(torch.tensor([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert utils.prepare_cu_seqlens_from_mask(mask).tolist() == [0, 2, 5]
    assert utils.prepare_position_ids(offsets).tolist() == [*range(5), 0, *range(34)]
    assert utils.prepare_sequence_ids(offsets).tolist() == [0] * 5 + [1] + [2] * 34
    assert utils.prepare_token_indices(offsets)[:6].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4], [1, 0]]
    assert utils.prepare_chunk_indices(offsets, 16).tolist() == [[0, 0], [2, 0], [3, 0], [3, 1], [3, 2]]
    assert utils.prepare_chunk_offsets(offsets, 16).tolist() == [0, 1, 1, 2, 5]
    assert utils.get_max_num_splits(offsets, 16) == 3 == utils.get_max_num_splits(offsets, 16, offsets)
    for f in (utils.prepare_position_ids, utils.prepare_sequence_ids, utils.prepare_token_indices):
        assert torch.equal(f(offsets, offsets.clone()), f(offsets))


def test_offsets_of_pieces():
    assert utils.prepare_split_cu_seqlens(2, 5, 3).tolist() == [0, 3, 5, 8, 10]
    assert utils.prepare_split_cu_seqlens(cu_seqlens=packed(), split_size=16).tolist() == [0, 5, 6, 22, 38, 40]
    with pytest.raises(TypeError, match="expected split_size"):
        utils.prepare_split_cu_seqlens(2, 5)


@pytest.mark.parametrize("chunk", [16, 32, 64])
@pytest.mark.parametrize("varlen", [False, True])
def test_inverses_of_chunks(chunk, varlen):
    tokens = 40
    offsets = OFFSETS if varlen else [0, tokens]
    A, want = torch.zeros(1, tokens, 2, chunk), torch.zeros(1, tokens, 2, chunk)
    for a, b in pieces(chunk, offsets):
        block = 0.3 * torch.randn(1, 2, b - a, b - a).tril(-1)
        A[:, a:b, :, :b - a] = block.transpose(1, 2)
        want[:, a:b, :, :b - a] = torch.linalg.inv(block + torch.eye(b - a)).transpose(1, 2)
    assert_close(utils.solve_tril(A, packed() if varlen else None), want, 1e-5)
    with pytest.raises(ValueError, match="expected chunks of 16, 32 or 64 tokens, got 8"):
        utils.solve_tril(torch.zeros(1, 8, 1, 8))
    with pytest.raises(ValueError, match="expected batch size 1"):
        utils.solve_tril(torch.zeros(2, chunk, 1, chunk), torch.tensor([0, chunk]))


def test_softmax_logsumexp_and_products():
    x = leaf(torch.randn(3, 7, dtype=torch.float64))
    p = utils.softmax_fwd(x, torch.float64)
    dp = torch.randn_like(p)
    assert_close(p, x.softmax(-1), 1e-12)
    assert_close(utils.softmax_bwd(p, dp, torch.float64), torch.autograd.grad(x.softmax(-1), x, dp)[0], 1e-12)
    assert_close(utils.logsumexp_fwd(x, 2.0), (2 * x).logsumexp(-1), 1e-12)
    assert utils.logsumexp_fwd(x, dtype=torch.float16).dtype == torch.float16
    a, b = torch.randn(2, 3, 4), torch.randn(4, 5)
    assert_close(utils.matmul(a, b, "tanh"), (a @ b).tanh(), 1e-6)
    assert_close(utils.addmm(torch.ones(5), a, b, 2.0, 3.0), 3 + 2 * a @ b, 1e-6)
    with pytest.raises(ValueError, match="activation: expected one of"):
        utils.matmul(a, b, "gelu")
    with pytest.raises(ValueError, match=r"expected a \[M, K\] or \[B, M, K\] and b \[K, N\]"):
        utils.addmm(torch.ones(5), a, b.T)
    assert_close(fused_beta_sigmoid(x, 2.0), 2 * x.sigmoid(), 1e-12)
    assert abs(LN2 * RCP_LN2 - 1) < 1e-15
