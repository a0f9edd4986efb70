"""The name of Based in one kernel: how many there are is the compiler's choice."""

from __future__ import annotations

import torch

from .parallel import parallel_based

__all__ = ["fused_chunk_based"]


def fused_chunk_based(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    use_norm: bool = True,
    head_first: bool = False,
) -> torch.Tensor:
    """parallel_based; see there."""
    return parallel_based(q, k, v, scale, use_norm, head_first)
