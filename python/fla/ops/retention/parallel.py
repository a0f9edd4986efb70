"""Retention as attention with decaying scores."""

from __future__ import annotations

import torch

from .._arguments import check_layout
from ..simple_gla.parallel import parallel_simple_gla
from .decay import retention_decay

__all__ = ["parallel_retention"]


def parallel_retention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    output_attentions: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Retention of whole sequences, forward and backward.

    q, k [B, T, H, K], v [B, T, H, V]. Returns (o [B, T, H, V], with output_attentions
    the scores [B, H, T, T] in float32, else None). Raises ValueError for
    output_attentions with cu_seqlens, DeprecationWarning for head_first=True.
    """
    check_layout("parallel_retention", head_first, q)
    gates = retention_decay(q).expand(*q.shape[:3]).contiguous()
    return parallel_simple_gla(q, k, v, gates, scale, output_attentions, cu_seqlens)
