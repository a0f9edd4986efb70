"""Retention's decays."""

from __future__ import annotations

import torch

__all__ = ["retention_decay"]


def retention_decay(x: torch.Tensor) -> torch.Tensor:
    """gamma [H], natural logs in float32 (float64 if x is), for x [B, T, H, D]: head h keeps 1 - 2^(-5-h) a token."""
    # In float64 and by log1p: from head 20 on 1 - 2^(-5-h) is 1 in float32.
    heads = torch.arange(x.shape[2], dtype=torch.float64, device=x.device)
    return torch.log1p(-torch.exp2(-5.0 - heads)).to(torch.promote_types(x.dtype, torch.float32))
