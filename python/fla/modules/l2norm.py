"""Rows of Euclidean length one: y = x / sqrt(sum(x^2) + eps) over the last dimension.

Computed in float32 (float64 for float64). The backward pass keeps x alone and computes
the lengths again; PyTorch's own would keep float32 copies.
"""

from __future__ import annotations

import torch
import torch.nn as nn

from ._precision import wide

__all__ = ["L2Norm", "L2NormFunction", "l2_norm", "l2norm", "l2norm_bwd", "l2norm_fwd"]


def l2norm_fwd(x: torch.Tensor, eps: float = 1e-6, output_dtype: torch.dtype | None = None):
    """(y, one over the rows' lengths) of ``x [..., D]``: y in ``output_dtype`` or x's, the lengths [...] wide."""
    s = wide(x)
    rstd = torch.rsqrt(s.square().sum(-1) + eps)
    return (s * rstd.unsqueeze(-1)).to(output_dtype or x.dtype), rstd


def l2norm_bwd(y: torch.Tensor, rstd: torch.Tensor, dy: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """The gradient of x from :func:`l2norm_fwd`'s results, in the dtype of y; ``eps`` is in rstd already."""
    unit, d = wide(y), wide(dy)
    return ((d - unit * (d * unit).sum(-1, keepdim=True)) * rstd.unsqueeze(-1)).to(y.dtype)


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
        return l2norm_bwd(*l2norm_fwd(wide(x), ctx.eps), dy).to(x.dtype), None, None


def l2norm(x: torch.Tensor, eps: float = 1e-6, output_dtype: torch.dtype | None = None) -> torch.Tensor:
    """``x [..., D]`` with rows of length one, in ``output_dtype`` or the dtype of x."""
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
