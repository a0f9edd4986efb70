"""The depthwise causal convolution itself: y_t = act(sum_w weight[:, w] x_{t-W+1+w} + bias), zeros before x_0.

One multiply-add per tap over [B, T, D] as it lies in memory. The backward pass is written
out because of memory: it keeps x in its own dtype, where PyTorch's would keep float32 copies.
"""

from __future__ import annotations

import torch

from .._gates import gate_named
from .._precision import wide

__all__ = ["convolve"]


def _taps(s: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``s [B, T, D]`` and ``w [D, W]``, both wide, to [B, T, D]."""
    width = w.shape[1]
    y = s * w[:, -1] if bias is None else torch.addcmul(wide(bias), s, w[:, -1])
    for lag in range(1, min(width, s.shape[1])):
        y[:, lag:].addcmul_(s[:, :-lag], w[:, width - 1 - lag])
    return y


def _taps_backward(d: torch.Tensor, s: torch.Tensor, w: torch.Tensor):
    """The gradients of s and w for d, that of the sum."""
    width = w.shape[1]
    ds = d * w[:, -1]
    columns = [(d * s).sum((0, 1))]
    for lag in range(1, width):
        if lag < s.shape[1]:
            ds[:, :-lag].addcmul_(d[:, lag:], w[:, width - 1 - lag])
            columns.append((d[:, lag:] * s[:, :-lag]).sum((0, 1)))
        else:
            columns.append(torch.zeros_like(columns[0]))
    return ds, torch.stack(columns[::-1], -1)


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, activation):
        ctx.save_for_backward(x, weight, bias)
        ctx.activation = activation
        y = _taps(wide(x), wide(weight), bias)
        return y if activation is None else gate_named(activation).value(y)

    @staticmethod
    def backward(ctx, dy):
        x, weight, bias = ctx.saved_tensors
        s, w, d = wide(x), wide(weight), dy
        if ctx.activation is not None:
            d = d * gate_named(ctx.activation).slope(_taps(s, w, bias))
        ds, dw = _taps_backward(d, s, w)
        dbias = None if bias is None else d.sum((0, 1)).to(bias.dtype)
        return ds.to(x.dtype), dw.to(weight.dtype), dbias, None


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, activation: str | None) -> torch.Tensor:
    """``x [B, T, D]``, ``weight [D, W]``, ``bias [D]`` or None to [B, T, D] in float32 (float64 for float64)."""
    return _Convolve.apply(x, weight, bias, activation)
