"""Bit linear maps: what is rounded to what, and gradients that pass the rounding."""

import pytest
import torch
import torch.nn.functional as F

from fla.modules import BitLinear, FusedBitLinear
from fla.modules.fused_bitlinear import activation_quant, bit_linear, layer_norm_linear_quant_fn, weight_quant


def rms(x, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def test_rounding_of_activations_is_to_255_steps_a_row():
    torch.manual_seed(0)
    x = torch.randn(4, 100)
    y = activation_quant(x)
    step = x.abs().amax(-1, keepdim=True) / 127
    torch.testing.assert_close((y / step).round() * step, y)
    assert ((y - x).abs() <= step / 2 * 1.001).all()
    assert torch.equal(activation_quant(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_rounding_of_weights_is_to_three_values():
    torch.manual_seed(1)
    w = torch.randn(20, 30)
    y, scale = weight_quant(w), w.abs().mean()
    torch.testing.assert_close(y, (w / scale).round().clamp(-1, 1) * scale)
    assert len(y.unique()) == 3


@pytest.mark.parametrize("module, eps", [(BitLinear, 1e-8), (FusedBitLinear, 1e-6)])
@pytest.mark.parametrize("bias", [False, True])
def test_forward_and_gradients(module, eps, bias):
    torch.manual_seed(2)
    m, x = module(8, 5, bias=bias), torch.randn(2, 3, 8, requires_grad=True)
    m.norm.weight.data.normal_()
    out = m(x)
    y = rms(x, eps) * m.norm.weight
    expected = F.linear(activation_quant(y), weight_quant(m.weight), m.bias)
    torch.testing.assert_close(out, expected)
    d = torch.randn_like(out)
    # Straight through: as if nothing were rounded, at the rounded values.
    dy = d @ weight_quant(m.weight)
    torch.testing.assert_close(torch.autograd.grad(out, x, d, retain_graph=True)[0], torch.autograd.grad(y, x, dy)[0])
    dw = torch.einsum("bto,bti->oi", d, activation_quant(rms(x, eps) * m.norm.weight))
    torch.testing.assert_close(torch.autograd.grad(out, m.weight, d)[0], dw)


@pytest.mark.parametrize("rms_norm", [False, True])
def test_residual_stream(rms_norm):
    torch.manual_seed(3)
    x, residual, w = torch.randn(3, 8).bfloat16(), torch.randn(3, 8), torch.randn(5, 8)
    out, stream = layer_norm_linear_quant_fn(x, None, None, w, None, residual, prenorm=True, is_rms_norm=rms_norm)
    total = x.float() + residual
    y = rms(total, 1e-6) if rms_norm else F.layer_norm(total, (8,), eps=1e-6)
    assert out.dtype == torch.bfloat16 and torch.equal(stream, total)
    torch.testing.assert_close(out.float(), activation_quant(y) @ weight_quant(w).T, atol=5e-2, rtol=5e-2)


def test_the_function_and_the_printed_form():
    torch.manual_seed(4)
    x, w, nw = torch.randn(3, 8), torch.randn(5, 8), torch.randn(8)
    torch.testing.assert_close(bit_linear(x, w, None, nw), F.linear(activation_quant(rms(x, 1e-8) * nw), weight_quant(w)))
    assert repr(BitLinear(8, 5)) == "BitLinear(in_features=8, out_features=5, bias=False, norm_eps=1e-08)"
    assert BitLinear(8, 5).to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16


def test_the_rounded_weight_is_not_kept():
    m, x, kept = FusedBitLinear(64, 48), torch.randn(3, 64), []

    def pack(t):
        kept.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = m(x)
    own = {p.data_ptr() for p in m.parameters()}
    assert all(t.numel() < m.weight.numel() for t in kept if t.data_ptr() not in own)
    out.sum().backward()
    torch.testing.assert_close(m(x[0]), out[0])      # a row alone, without a batch
