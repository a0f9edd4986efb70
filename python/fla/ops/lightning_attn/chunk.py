"""Lightning attention in chunks."""

from __future__ import annotations

import torch

from .._arguments import check_layout
from ..simple_gla.chunk import chunk_simple_gla

__all__ = ["chunk_lightning_attn", "lightning_decay"]


def lightning_decay(x: torch.Tensor, layer_idx: int, num_layers: int) -> torch.Tensor:
    """gamma [H], natural logs in float32 (float64 if x is), for the heads of x [B, T, H, D].

    Later layers and earlier heads keep more.
    """
    heads = x.shape[2]
    slope = -8.0 / heads * (1.0 - layer_idx / num_layers)
    return slope * torch.arange(heads, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)


def chunk_lightning_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    layer_idx: int,
    num_layers: int,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Lightning attention in chunks, forward and backward.

    q, k [B, T, H, K], v [B, T, H, V]; layer_idx counts from 0 to num_layers - 1. scale
    multiplies q, K^-0.5 by default. initial_state [N, H, K, V], in float32 inside.
    cu_seqlens [N + 1] packs N sequences into a batch of 1. chunk_size: tokens of a
    chunk, a power of two.

    Returns (o [B, T, H, V] in q's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens,
    DeprecationWarning for head_first=True.
    """
    check_layout("chunk_lightning_attn", head_first, q, cu_seqlens)
    return chunk_simple_gla(q, k, v, None, lightning_decay(q, layer_idx, num_layers), scale, initial_state,
                            output_final_state, cu_seqlens, chunk_size=chunk_size)
