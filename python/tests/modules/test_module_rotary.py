"""Rotary embeddings as complex rotations: offsets, packed sequences, XPos, tables that grow."""

import pytest
import torch

from fla.modules import RotaryEmbedding
from fla.modules.rotary import rotary_embedding, rotary_embedding_fwdbwd, rotary_embedding_ref, rotate_half


def turned(x, positions, dim, base=10000.0, interleaved=False):
    """``x [..., T, H, D]``: pairs as complex numbers times exp(i position frequency), in float64."""
    frequencies = base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    turn = torch.polar(torch.ones(()).double(), positions[..., None].double() * frequencies).unsqueeze(-2)
    head, rest = x[..., :dim].double(), x[..., dim:].double()
    if interleaved:
        z = torch.complex(head[..., ::2], head[..., 1::2]) * turn
        out = torch.stack((z.real, z.imag), -1).flatten(-2)
    else:
        z = torch.complex(*head.chunk(2, -1)) * turn
        out = torch.cat((z.real, z.imag), -1)
    return torch.cat((out, rest), -1)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dim, head", [(8, 8), (4, 8), (6, 7), (320, 320)])
def test_a_batch(interleaved, dim, head):
    torch.manual_seed(0)
    q, k = torch.randn(2, 5, 3, head), torch.randn(2, 5, 1, head)
    for x, y in zip((q, k), RotaryEmbedding(dim, interleaved=interleaved)(q, k, seqlen_offset=3)):
        expected = turned(x, torch.arange(3, 8), dim, interleaved=interleaved)
        torch.testing.assert_close(y.double(), expected, atol=2e-5, rtol=1e-4)


def test_offsets_of_their_own():
    torch.manual_seed(1)
    q, offsets = torch.randn(3, 4, 2, 8), torch.tensor([0, 7, 2])
    rotary = RotaryEmbedding(8)
    y, _ = rotary(q, q, offsets)
    assert rotary._cos_cached.shape[0] == 11
    torch.testing.assert_close(y.double(), turned(q, offsets[:, None] + torch.arange(4), 8), atol=1e-5, rtol=1e-4)
    assert torch.equal(rotary(q, q, offsets.int(), max_seqlen=11)[0], y)


@pytest.mark.parametrize("has_offsets", [False, True])
def test_packed_sequences_start_at_zero(has_offsets):
    torch.manual_seed(2)
    bounds = [0, 0, 3, 4, 4, 9]
    q = torch.randn(1, 9, 2, 8)
    offsets = torch.tensor([9, 1, 0, 9, 5]) if has_offsets else 0
    y, _ = RotaryEmbedding(8)(q, q, offsets, cu_seqlens=torch.tensor(bounds, dtype=torch.int32), max_seqlen=20)
    for n, (start, end) in enumerate(zip(bounds, bounds[1:])):
        positions = torch.arange(end - start) + (offsets[n] if has_offsets else 0)
        torch.testing.assert_close(y[0, start:end].double(), turned(q[0, start:end], positions, 8), atol=1e-5,
                                   rtol=1e-4)


def test_rows_of_left_padding_are_defined():
    """A cache that counts real tokens gives padding negative positions."""
    q = torch.randn(2, 4, 1, 8)
    y, _ = RotaryEmbedding(8)(q, q, torch.tensor([-2, 0]), max_seqlen=4)
    assert torch.equal(y[0, :2], q[0, :2])
    torch.testing.assert_close(y[0, 2:].double(), turned(q[0, 2:], torch.arange(2), 8), atol=1e-5, rtol=1e-4)
    assert torch.equal(RotaryEmbedding(8)(q, q, -2)[0][0], y[0])


def test_xpos_scales_queries_and_keys_opposite_ways():
    torch.manual_seed(3)
    q, k = torch.randn(1, 6, 1, 8), torch.randn(1, 6, 1, 8)
    xq, xk = RotaryEmbedding(8, scale_base=512.0)(q, k)
    rq, rk = RotaryEmbedding(8)(q, k)
    scale = ((torch.arange(0, 8, 2) + 0.4 * 8) / (1.4 * 8)) ** ((torch.arange(6) - 3)[:, None] / 512.0)
    scale = torch.cat((scale, scale), -1)[:, None]
    torch.testing.assert_close(xq, rq * scale)
    torch.testing.assert_close(xk, rk / scale)


@pytest.mark.parametrize("interleaved", [False, True])
def test_gradients(interleaved):
    torch.manual_seed(4)
    x = torch.randn(2, 3, 2, 6, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(5, 2, dtype=torch.float64)
    cos, sin = angles.cos(), angles.sin()
    assert torch.autograd.gradcheck(lambda x: rotary_embedding(x, cos, sin, interleaved, seqlen_offsets=1), (x,))
    dy = torch.randn_like(x)
    dx, = torch.autograd.grad(rotary_embedding(x, cos, sin, interleaved), x, dy)
    torch.testing.assert_close(rotary_embedding_fwdbwd(dy, cos, sin, interleaved=interleaved, conjugate=True), dx)


def test_half_precision_is_float32_inside():
    torch.manual_seed(5)
    q = torch.randn(2, 40, 2, 16, dtype=torch.bfloat16)
    rotary = RotaryEmbedding(16)
    y, _ = rotary(q, q)
    assert y.dtype == rotary._cos_cached.dtype == torch.bfloat16
    ref = rotary_embedding_ref(q.float(), rotary._cos_cached.float(), rotary._sin_cached.float())
    assert torch.equal(y, ref.to(torch.bfloat16))


def test_a_model_cast_to_bfloat16_keeps_its_frequencies():
    q = torch.randn(1, 300, 1, 64)
    cast = RotaryEmbedding(64).to(torch.bfloat16)
    assert torch.equal(cast(q, q)[0], RotaryEmbedding(64)(q, q)[0])
    rounded = RotaryEmbedding(64, pos_idx_in_fp32=False).to(torch.bfloat16)
    assert not torch.allclose(rounded(q, q)[0], cast(q, q)[0], atol=1e-2)


def test_tables_of_inference_mode_serve_training():
    rotary, q = RotaryEmbedding(8), torch.randn(1, 4, 1, 8, requires_grad=True)
    with torch.inference_mode():
        rotary(q, q)
    rotary(q, q)[0].sum().backward()
    assert torch.isfinite(q.grad).all()


def test_in_place():
    x = torch.randn(1, 4, 1, 8)
    rotary = RotaryEmbedding(8)
    expected, _ = rotary(x, x)
    y = rotary_embedding(x, rotary._cos_cached, rotary._sin_cached, inplace=True)
    assert y is x and torch.equal(x, expected)


def test_rotate_half():
    x = torch.arange(4.0)
    assert rotate_half(x).tolist() == [-2, -3, 0, 1]
    assert rotate_half(x, True).tolist() == [-1, 0, -3, 2]


def test_buffers_are_made_again():
    """What loading on the meta device needs: buffers outside the state dict come from reset_parameters."""
    rotary = RotaryEmbedding(8, scale_base=512.0, device="meta").to_empty(device="cpu")
    rotary.reset_parameters()
    fresh = RotaryEmbedding(8, scale_base=512.0)
    assert torch.equal(rotary.inv_freq, fresh.inv_freq) and torch.equal(rotary.scale, fresh.scale)
    assert not rotary.state_dict()


@pytest.mark.parametrize("call, error, message", [
    (lambda x, t: rotary_embedding(x[0], t, t), ValueError, r"\[B, T, H, D\], got \(4, 1, 8\)"),
    (lambda x, t: rotary_embedding(x, t, t[:2]), ValueError, "one shape"),
    (lambda x, t: rotary_embedding(x[..., :6], t, t), ValueError, "at least 8 entries a head, got 6"),
    (lambda x, t: rotary_embedding(x, t, t, seqlen_offsets=1), ValueError, r"4 \+ 1 positions, got 4"),
    (lambda x, t: rotary_embedding(x, t, t, seqlen_offsets=torch.zeros(3).int()), ValueError, r"shape \(2,\)"),
    (lambda x, t: rotary_embedding(x, t, t, seqlen_offsets=torch.zeros(2)), ValueError, "int32 or int64"),
    (lambda x, t: rotary_embedding(x, t, t, seqlen_offsets=torch.tensor([0, 9])), IndexError, "out of range|bounds"),
    (lambda x, t: rotary_embedding(x, t, t, cu_seqlens=torch.tensor([0, 4])), ValueError, "batch size of 1"),
])
def test_arguments_that_do_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.zeros(2, 4, 1, 8), torch.ones(4, 4))
