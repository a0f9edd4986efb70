"""The name of linear attention in one kernel: how many there are is the compiler's choice."""

from __future__ import annotations

import torch

from .chunk import chunk_linear_attn

__all__ = ["fused_chunk_linear_attn"]


def fused_chunk_linear_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | tuple | None = None,
    output_final_state: bool = False,
    normalize: bool = True,
    head_first: bool = False,
    *,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | tuple | None]:
    """chunk_linear_attn; see there."""
    return chunk_linear_attn(q, k, v, scale, initial_state, output_final_state, normalize, head_first,
                             cu_seqlens=cu_seqlens)
