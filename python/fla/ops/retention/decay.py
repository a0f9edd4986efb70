"""Retention's decays."""

from __future__ import annotations

import math

import torch

__all__ = ["retention_decay"]


def retention_decay(x: torch.Tensor) -> torch.Tensor:
    """gamma [H], natural logs in float32 (float64 if x is), for x [B, T, H, D]: head h keeps 1 - 2^(-5-h) a token."""
    # In Python's doubles: from head 20 on 1 - 2^(-5-h) is 1 in float32.
    return torch.tensor([math.log1p(-(2.0 ** (-5 - h))) for h in range(x.shape[2])],
                        dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
