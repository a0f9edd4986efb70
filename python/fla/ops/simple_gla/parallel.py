"""Simple GLA as attention with decaying scores."""

from __future__ import annotations

import torch

from .._arguments import check_layout, check_packed, default_scale
from .chunk import chunk_simple_gla

__all__ = ["parallel_simple_gla", "check_scores", "decayed_scores"]


def decayed_scores(q: torch.Tensor, k: torch.Tensor, g: torch.Tensor | None, scale: float) -> torch.Tensor:
    """[B, H, T, T]: scale q_i.k_j e^{g_{j+1} + .. + g_i} for j <= i, zero above; float32."""
    heads = max(q.shape[2], k.shape[2], g.shape[2] if g is not None else 1)
    wide = lambda x: x.float().repeat_interleave(heads // x.shape[2], 2)
    scores = torch.einsum("bihk,bjhk->bhij", wide(q) * scale, wide(k))
    future = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool, device=q.device).triu(1)
    if g is not None:
        sums = wide(g).cumsum(1).transpose(1, 2)
        scores = scores * (sums[..., :, None] - sums[..., None, :]).masked_fill(future, 0.0).exp()
    return scores.masked_fill(future, 0.0)


def check_scores(name: str, output_attentions: bool, cu_seqlens) -> None:
    """Raises ValueError for scores of packed sequences."""
    if output_attentions and cu_seqlens is not None:
        raise ValueError(f"{name}: output_attentions=True: expected no cu_seqlens with it, got {list(cu_seqlens.shape)}")


def parallel_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    scale: float | None = None,
    output_attentions: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    cu_seqlens_cpu: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Simple GLA of whole sequences, forward and backward: chunk_simple_gla without states.

    q, k [B, T, H, K], v [B, T, H, V], g [B, T, H] a natural log. With output_attentions
    the scores are materialised, too.

    Returns (o [B, T, H, V], scores [B, H, T, T] in float32 or None). Raises ValueError
    for output_attentions with cu_seqlens, DeprecationWarning for head_first=True.
    """
    name = "parallel_simple_gla"
    check_layout(name, head_first, q, cu_seqlens)
    check_packed(name, q, cu_seqlens)
    check_scores(name, output_attentions, cu_seqlens)
    scale = default_scale(scale, k)
    o, _ = chunk_simple_gla(q, k, v, g, scale=scale, cu_seqlens=cu_seqlens)
    return o, decayed_scores(q, k, g, scale) if output_attentions else None
