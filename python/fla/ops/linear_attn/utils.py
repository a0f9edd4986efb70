"""The divisor of normalised linear attention."""

from __future__ import annotations

import torch

__all__ = ["normalize_output"]


def normalize_output(q: torch.Tensor, k: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
    """o_t / (q_t.(k_1 + .. + k_t) + 1e-10); q, k [B, T, H, K], q already scaled, o [B, T, H, V]."""
    return o / ((q * k.cumsum(1)).sum(-1, keepdim=True) + 1e-10)
