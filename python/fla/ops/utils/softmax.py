"""Softmax along the last axis and its gradient."""

from __future__ import annotations

import torch

__all__ = ["softmax_fwd", "softmax_bwd"]


def softmax_fwd(x: torch.Tensor, dtype: torch.dtype | None = torch.float) -> torch.Tensor:
    """Softmax of x [..., D] in float32, given in dtype (x's if None)."""
    return x.softmax(-1, torch.promote_types(x.dtype, torch.float32)).to(x.dtype if dtype is None else dtype)


def softmax_bwd(p: torch.Tensor, dp: torch.Tensor, dtype: torch.dtype | None = torch.float) -> torch.Tensor:
    """The gradient p (dp - p.dp) of what p [..., D] is the softmax of, given in dtype (p's if None)."""
    compute = torch.promote_types(p.dtype, torch.float32)
    p32, dp32 = p.to(compute), dp.to(compute)
    return (p32 * (dp32 - (p32 * dp32).sum(-1, keepdim=True))).to(p.dtype if dtype is None else dtype)
