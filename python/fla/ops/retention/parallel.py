"""Retention as attention with decaying scores."""

from __future__ import annotations

import torch

from .._arguments import check_layout, default_scale
from ..simple_gla.parallel import check_scores, decayed_scores
from .chunk import chunk_retention
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
    name = "parallel_retention"
    check_layout(name, head_first, q, cu_seqlens)
    check_scores(name, output_attentions, cu_seqlens)
    o, _ = chunk_retention(q, k, v, scale, cu_seqlens=cu_seqlens)
    gates = retention_decay(q).expand(q.shape[:3])
    return o, decayed_scores(q, k, gates, default_scale(scale, k)) if output_attentions else None
