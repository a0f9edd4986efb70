"""Gated units z = gate(x) * y, alone and in front of a linear map.

Both write their backward out because of memory: an MLP's widest tensors are here, and only
the inputs x and y are kept. Computed in float32 (float64 for float64).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ._blocks import by_blocks
from ._gates import Gate
from ._precision import autocast_dtype, cast, wide

__all__ = ["gated", "gated_backward", "gated_linear"]


def _by_rows(function, tensors: tuple, results: int) -> tuple:
    """``function`` of tensors of one shape, taken as rows of their last dimension."""
    shape = tensors[0].shape
    rows = tuple(t.reshape(-1, shape[-1]) if len(shape) else t.reshape(1, 1) for t in tensors)
    return tuple(t.reshape(shape) for t in by_blocks(function, rows, results))


def gated_backward(dz, x, y, gate: Gate) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of x and y, in their dtypes."""

    def block(x, y, dz):
        d, s = wide(dz), wide(x)
        return (d * wide(y) * gate.slope(s)).to(x.dtype), (d * gate.value(s)).to(y.dtype)

    return _by_rows(block, (x, y, dz), 2)


def _gated(x, y, gate: Gate, dtype: torch.dtype) -> torch.Tensor:
    return _by_rows(lambda x, y: (cast(gate.value(wide(x)) * wide(y), dtype),), (x, y), 1)[0]


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y, gate):
        ctx.save_for_backward(x, y)
        ctx.gate = gate
        return _gated(x, y, gate, x.dtype)

    @staticmethod
    def backward(ctx, dz):
        return *gated_backward(dz, *ctx.saved_tensors, ctx.gate), None


class _GatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y, weight, bias, gate):
        ctx.save_for_backward(x, y, weight, bias)
        ctx.gate = gate
        return F.linear(_gated(x, y, gate, weight.dtype), weight, bias)

    @staticmethod
    def backward(ctx, dout):
        x, y, weight, bias = ctx.saved_tensors
        rows = dout.reshape(-1, dout.shape[-1])
        z = _gated(x, y, ctx.gate, weight.dtype)
        dweight = rows.t() @ z.reshape(-1, z.shape[-1])
        dbias = None if bias is None else rows.sum(0)
        return *gated_backward(dout @ weight, x, y, ctx.gate), dweight, dbias, None


def _check(x, y):
    if x.shape != y.shape:
        raise ValueError(f"expected x and y of one shape, got {tuple(x.shape)} and {tuple(y.shape)}")


def gated(x: torch.Tensor, y: torch.Tensor, gate: Gate) -> torch.Tensor:
    """gate(x) * y, in the dtype of x. Raises ValueError when the shapes differ."""
    _check(x, y)
    return _Gated.apply(x, y, gate)


def gated_linear(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
                 gate: Gate) -> torch.Tensor:
    """(gate(x) * y) weight^T + bias in the dtype of x, or autocast's. Raises ValueError when the shapes differ."""
    _check(x, y)
    dtype = autocast_dtype(x)
    return _GatedLinear.apply(x, y, weight.to(dtype), None if bias is None else bias.to(dtype), gate)
