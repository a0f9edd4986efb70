"""Linear maps with 8-bit activations and ternary weights, trained through the rounding.

Both numbers are rounded and scaled back, so that any device multiplies them; gradients pass
the rounding unchanged (straight-through). Sources: Ma et al. 2024, The Era of 1-bit LLMs
(arXiv:2402.17764); Zhu et al. 2024, MatMul-free language modeling (arXiv:2406.02528).
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from ._applies import applies
from ._norm import Kind, add_residual, normalise
from ._precision import autocast_dtype, wide
from .layernorm import RMSNorm

__all__ = ["BitLinear", "FusedBitLinear", "LayerNormLinearQuantFn", "activation_quant", "bit_linear",
           "layer_norm_linear_quant_fn", "rms_norm_linear_quant", "weight_quant"]


def activation_quant(x: torch.Tensor) -> torch.Tensor:
    """``x [..., D]`` rounded to 8 bits of each row's largest entry; shape and dtype stay."""
    scale = 127.0 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
    return (x * scale).round().clamp(-128, 127) / scale


def weight_quant(w: torch.Tensor) -> torch.Tensor:
    """``w`` rounded to -1, 0 or 1 times its mean absolute value; shape and dtype stay."""
    scale = 1.0 / w.abs().mean().clamp(min=1e-5)
    return (w * scale).round().clamp(-1, 1) / scale


def _through(x: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """``rounded``, with the gradient of x."""
    return x + (rounded - x).detach()


class _RoundedLinear(torch.autograd.Function):
    """A linear map of ``x [..., D]`` with the rounded ``weight [O, D]``; it keeps the weight, and rounds it again."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return F.linear(x, weight_quant(weight).to(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        rows, inputs = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
        dx = dy @ _through(weight, weight_quant(weight)).to(dy.dtype) if ctx.needs_input_grad[0] else None
        dweight = (rows.t() @ inputs).to(weight.dtype) if ctx.needs_input_grad[1] else None
        return dx, dweight, rows.sum(0) if ctx.biased else None


def layer_norm_linear_quant_fn(
    x,
    norm_weight,
    norm_bias,
    linear_weight,
    linear_bias,
    residual=None,
    eps=1e-6,
    prenorm=False,
    residual_in_fp32=False,
    is_rms_norm=False,
):
    """A layer or RMS norm, rounding of the rows, and a linear map with a rounded weight.

    Args:
        x, residual: [..., D]; norm_weight, norm_bias: [D] or None; linear_weight: [O, D];
        linear_bias: [O] or None. The rest as in :mod:`fla.modules.layernorm`.

    Returns:
        [..., O] in the dtype of x, or autocast's; with ``prenorm`` also x + residual. Norm
        and rounding are float32 (float64 for float64).
    """
    dtype = autocast_dtype(x)
    total, stream = add_residual(x, residual, residual_in_fp32)
    y = normalise(wide(total), norm_weight, norm_bias, Kind(eps, not is_rms_norm))
    out = _RoundedLinear.apply(_through(y, activation_quant(y)).to(dtype), linear_weight, linear_bias)
    return (out, stream) if prenorm else out


LayerNormLinearQuantFn = applies("LayerNormLinearQuantFn", layer_norm_linear_quant_fn, __name__)


def rms_norm_linear_quant(x: torch.Tensor, norm_weight: torch.Tensor, norm_bias: torch.Tensor,
                          linear_weight: torch.Tensor, linear_bias: torch.Tensor, residual: torch.Tensor = None,
                          eps: float = 1e-5, prenorm: bool = False, residual_in_fp32: bool = False):
    """:func:`layer_norm_linear_quant_fn` with an RMS norm."""
    return layer_norm_linear_quant_fn(x, norm_weight, norm_bias, linear_weight, linear_bias, residual, eps, prenorm,
                                      residual_in_fp32, True)


def bit_linear(x, weight, bias=None, norm_weight=None, norm_bias=None, eps=1e-8):
    """An RMS norm of ``x [..., D]`` and a linear map ``weight [O, D]``, both rounded; bias [O] or None."""
    return layer_norm_linear_quant_fn(x, norm_weight, norm_bias, weight, bias, eps=eps, is_rms_norm=True)


class BitLinear(nn.Linear):
    """A linear map whose input is normalised: ``weight [O, D]``, ``norm.weight [D]`` and, if any, ``bias [O]``.

    The normalised rows are rounded in the dtype of x.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False, norm_eps: float = 1e-8):
        super().__init__(in_features, out_features, bias=bias)
        self.norm = RMSNorm(in_features, eps=norm_eps, dtype=torch.float32)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()}, norm_eps={self.norm.eps})"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in_features]; returns [..., out_features]."""
        y = self.norm(x)
        weight = _through(self.weight, weight_quant(self.weight))
        return F.linear(_through(y, activation_quant(y)), weight, self.bias)


class FusedBitLinear(BitLinear):
    """:class:`BitLinear` with norm and rounding in float32 and an eps of 1e-6, as in published checkpoints."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False):
        super().__init__(in_features, out_features, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in_features]; returns [..., out_features]."""
        return layer_norm_linear_quant_fn(x, self.norm.weight, self.norm.bias, self.weight, self.bias,
                                          is_rms_norm=True)
