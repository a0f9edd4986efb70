"""The delta rule as attention: its scores are those of linear attention, solved with the keys' own."""

from __future__ import annotations

import torch

from .._arguments import check_layout, default_scale
from .chunk import chunk_delta_rule
from .naive import delta_attention, naive_delta_rule_parallel

__all__ = ["parallel_delta_rule", "naive_delta_rule_parallel"]


def parallel_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    output_attentions: bool = False,
    head_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The delta rule of whole sequences, forward and backward: chunk_delta_rule without states.

    q, k [B, T, H, K] with k of unit norm, v [B, T, H, V], beta [B, T, H]. With
    output_attentions the scores are materialised, too.

    Returns (o [B, T, H, V], A [B, H, T, T] in float32 with o = A (beta v), or None).
    Raises DeprecationWarning for head_first=True.
    """
    check_layout("parallel_delta_rule", head_first, q)
    scale = default_scale(scale, k)
    o, _ = chunk_delta_rule(q, k, v, beta, scale)
    return o, delta_attention(q, k, beta, scale) if output_attentions else None
