"""Logsumexp along the last axis."""

from __future__ import annotations

import torch

__all__ = ["logsumexp_fwd"]


def logsumexp_fwd(x: torch.Tensor, scale: float | None = None, dtype: torch.dtype | None = None) -> torch.Tensor:
    """log(sum(exp(scale x))) of x [..., D], in float32 or, if given, dtype."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    z = (x if scale is None else x * scale).logsumexp(-1)
    return z if dtype is None else z.to(dtype)
