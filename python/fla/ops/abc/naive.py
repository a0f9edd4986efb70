"""Attention with bounded-memory control in plain PyTorch; head first: q, k, v, s [B, H, T, D]."""

from __future__ import annotations

import torch

from ..gsa.naive import naive_recurrent_gsa

__all__ = ["naive_recurrent_abc", "naive_cumsum_abc"]


def naive_recurrent_abc(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    s: torch.Tensor,
    g: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: tuple[torch.Tensor, torch.Tensor] | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
    """naive_recurrent_gsa with heads before tokens; without g slots are shares of a softmax over the past."""
    q, k, v, s, g = (None if x is None else x.transpose(1, 2) for x in (q, k, v, s, g))
    o, final = naive_recurrent_gsa(q, k, v, s, g, scale, initial_state, output_final_state)
    return o.transpose(1, 2), final


def naive_cumsum_abc(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, None]:
    """The paper's sums: every slot holds the mean of the past keys and values that its logits weigh."""
    dtype = q.dtype
    q, k, v, s = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v, s))
    weights = (s - s.amax(2, keepdim=True)).exp()
    total = weights.cumsum(2)[..., None]
    mean = lambda x: (weights[..., None] * x[..., None, :]).cumsum(2) / total  # [B, H, T, M, D]
    p = (mean(k) @ (q * q.shape[-1] ** -0.5)[..., None]).squeeze(-1).softmax(-1)
    return (p[..., None, :] @ mean(v)).squeeze(-2).to(dtype), None
