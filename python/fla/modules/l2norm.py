"""Rows of Euclidean length one: y = x / sqrt(sum(x^2) + eps) over the last dimension.

Computed in float32 (float64 for float64). The backward pass keeps x alone and computes
the lengths again; PyTorch's own would keep float32 copies. Large inputs go through a definition
for the compiler, on a GPU as well.
"""

from __future__ import annotations

import torch
import torch.nn as nn

from ._blocks import by_blocks, is_large
from ._precision import cast, wide

__all__ = ["L2Norm", "L2NormFunction", "l2_norm", "l2norm", "l2norm_bwd", "l2norm_fwd"]


def _unit(x: torch.Tensor, eps: float, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [R, D] of length one in ``dtype``, and one over what their lengths were, [R]."""
    s = wide(x)
    rstd = torch.rsqrt(s.square().sum(-1) + eps)
    return cast(s * rstd.unsqueeze(-1), dtype), rstd


def _backward(y: torch.Tensor, rstd: torch.Tensor, dy: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    unit, d = wide(y), wide(dy)
    return ((d - unit * (d * unit).sum(-1, keepdim=True)) * rstd.unsqueeze(-1)).to(dtype)


def l2norm_fwd(x: torch.Tensor, eps: float = 1e-6, output_dtype: torch.dtype | None = None):
    """(y, one over the rows' lengths) of ``x [..., D]``: y in ``output_dtype`` or x's, the lengths [...] wide."""
    y, rstd = by_blocks(lambda x: _unit(x, eps, output_dtype or x.dtype), (x.reshape(-1, x.shape[-1]),), 2)
    return y.reshape(x.shape), rstd.reshape(x.shape[:-1])


def l2norm_bwd(y: torch.Tensor, rstd: torch.Tensor, dy: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """The gradient of x from :func:`l2norm_fwd`'s results, in the dtype of y; ``eps`` is in rstd already."""
    rows = y.reshape(-1, y.shape[-1]), rstd.reshape(-1), dy.reshape(-1, y.shape[-1])
    return by_blocks(lambda *t: (_backward(*t, y.dtype),), rows, 1)[0].reshape(y.shape)


class L2NormFunction(torch.autograd.Function):
    """:func:`l2norm` as an autograd function: ``apply(x, eps, output_dtype)``."""

    @staticmethod
    def forward(ctx, x, eps=1e-6, output_dtype=None):
        ctx.save_for_backward(x)
        ctx.eps = eps
        return l2norm_fwd(x, eps, output_dtype)[0]

    @staticmethod
    def backward(ctx, dy):
        x, = ctx.saved_tensors

        def block(x, dy):
            return (_backward(*_unit(wide(x), ctx.eps, wide(x).dtype), dy, x.dtype),)

        rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, x.shape[-1])
        return by_blocks(block, rows, 1)[0].reshape(x.shape), None, None


def l2norm(x: torch.Tensor, eps: float = 1e-6, output_dtype: torch.dtype | None = None) -> torch.Tensor:
    """``x [..., D]`` with rows of length one, in ``output_dtype`` or the dtype of x."""
    if x.dim() and output_dtype in (None, x.dtype) and is_large(rows := x.reshape(-1, x.shape[-1]), "cpu", "cuda"):
        from ._rows import unit_rows
        return unit_rows(rows, eps).reshape(x.shape)
    return L2NormFunction.apply(x, eps, output_dtype)


l2_norm = l2norm


class L2Norm(nn.Module):
    """:func:`l2norm` as a module without parameters."""

    def __init__(self, eps: float = 1e-6, output_dtype: torch.dtype | None = None):
        super().__init__()
        self.eps = eps
        self.output_dtype = output_dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., D]."""
        return l2norm(x, self.eps, self.output_dtype)
