"""Gated slot attention in chunks."""

from __future__ import annotations

import torch

from fla.lang import load

from .._arguments import check_chunk, check_layout, check_packed, default_scale
from .._calls import run
from .slots import shares

__all__ = ["chunk_gsa", "slot_attention"]

GSA = load("gsa")


def slot_attention(name: str, form: str, q, k, v, s, g, scale, initial_state, output_final_state: bool, cu_seqlens,
                   **options):
    """GSA in either form; without g the slots are shares of a softmax over the past."""
    check_packed(name, q, cu_seqlens, *(initial_state or ()))
    if g is None:
        s, g = shares(s, cu_seqlens)
    return run(GSA, form, q=q, k=k, v=v, s=s, g=g, scale=default_scale(scale, q), initial_state=initial_state,
               output_final_state=output_final_state, cu_seqlens=cu_seqlens, **options)


def chunk_gsa(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    s: torch.Tensor,
    g: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: tuple[torch.Tensor, torch.Tensor] | None = None,
    output_final_state: bool = False,
    checkpoint_level: int = 2,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    cu_seqlens_cpu: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
    """Gated slot attention in chunks, forward and backward.

    q [B, T, HQ, K], k [B, T, H, K], v [B, T, H, V], s [B, T, H, M], where H divides HQ;
    g [B, T, H, M] is a natural log, not positive. Without g, s are logits: a slot holds
    the softmax over the past. scale multiplies q, K^-0.5 by default. initial_state is a
    pair [N, H, K, M], [N, H, M, V], in float32 inside. cu_seqlens [N + 1] packs N
    sequences into a batch of 1; cu_seqlens_cpu is not needed, and checkpoint_level
    changes nothing: what is kept for the backward is chosen by FLA_STATES. chunk_size:
    tokens of a chunk, a power of two.

    Returns (o [B, T, HQ, V] in q's dtype, the pair of final states in float32 or None).
    Raises ValueError for a wrong batch or number of states with cu_seqlens and for a
    checkpoint_level that is not 0, 1 or 2, DeprecationWarning for head_first=True.
    """
    name = "chunk_gsa"
    check_layout(name, head_first, q, cu_seqlens)
    check_chunk(name, chunk_size)
    if checkpoint_level not in (0, 1, 2):
        raise ValueError(f"{name}: checkpoint_level: expected 0, 1 or 2, got {checkpoint_level!r}")
    return slot_attention(name, "chunk", q, k, v, s, g, scale, initial_state, output_final_state, cu_seqlens,
                          chunk_size=chunk_size)
