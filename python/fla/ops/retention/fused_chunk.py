"""The name of retention in one kernel: how many there are is the compiler's choice."""

from __future__ import annotations

import torch

from .chunk import chunk_retention

__all__ = ["fused_chunk_retention"]


def fused_chunk_retention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """chunk_retention; see there."""
    return chunk_retention(q, k, v, scale, initial_state, output_final_state, cu_seqlens, head_first)
