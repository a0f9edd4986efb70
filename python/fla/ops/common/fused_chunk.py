"""Linear attention in chunks with a gate a head."""

from __future__ import annotations

import torch

from ..simple_gla.chunk import chunk_simple_gla

__all__ = ["fused_chunk"]


def fused_chunk(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    g_gamma: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """chunk_simple_gla; see there. Raises ValueError for both gates."""
    if g is not None and g_gamma is not None:
        raise ValueError("fused_chunk: expected one gate, g [B, T, H] or g_gamma [H], got both")
    return chunk_simple_gla(q, k, v, g, g_gamma, scale, initial_state, output_final_state, cu_seqlens)
