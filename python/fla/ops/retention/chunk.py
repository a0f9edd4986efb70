"""Retention in chunks."""

from __future__ import annotations

import torch

from .._arguments import check_layout
from ..simple_gla.chunk import chunk_simple_gla
from .decay import retention_decay

__all__ = ["chunk_retention"]


def chunk_retention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    state_v_first: bool = False,
    transpose_state_layout: bool | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Retention in chunks, forward and backward.

    q, k [B, T, H, K], v [B, T, H, V]; scale multiplies q, K^-0.5 by default.
    initial_state [N, H, K, V], in float32 inside; with state_v_first [N, H, V, K].
    cu_seqlens [N + 1] packs N sequences into a batch of 1. chunk_size: tokens of a
    chunk, a power of two.

    Returns (o [B, T, H, V] in q's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens,
    DeprecationWarning for head_first=True.
    """
    check_layout("chunk_retention", head_first, q, cu_seqlens)
    return chunk_simple_gla(q, k, v, None, retention_decay(q), scale, initial_state, output_final_state, cu_seqlens,
                            state_v_first=state_v_first, transpose_state_layout=transpose_state_layout,
                            chunk_size=chunk_size)
