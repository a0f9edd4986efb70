"""Attention with bounded-memory control in chunks."""

from __future__ import annotations

import torch

from fla.lang import load

from .._arguments import check_chunk, check_layout, check_packed, default_scale
from .._calls import run
from ..gsa.chunk import slot_attention

__all__ = ["chunk_abc"]

ABC = load("abc")


def chunk_abc(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    s: torch.Tensor,
    initial_state: tuple[torch.Tensor, ...] | None = None,
    output_final_state: bool = False,
    head_first: bool = False,
    *,
    return_normalizer: bool = False,
    scale: float | None = None,
    cu_seqlens: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...] | None]:
    """Attention with bounded-memory control in chunks, forward and backward.

    q [B, T, HQ, K], k [B, T, H, K], v [B, T, H, V], logits s [B, T, H, M], where H divides
    HQ. scale multiplies q, K^-0.5 by default. cu_seqlens [N + 1] packs N sequences into a
    batch of 1. chunk_size: tokens of a chunk, a power of two.

    initial_state is (Hk [N, H, K, M], Hv [N, H, M, V]), or these and the logits' running
    logsumexp z [N, H, M], with which a sequence goes on as if it had not been cut; a
    pair without z goes in undecayed, its weight that of nothing. The final state has z
    when the initial one has, or with return_normalizer. States are in float32 inside.

    Returns (o [B, T, HQ, V] in q's dtype, final states or None). Raises ValueError for a
    wrong batch or number of states with cu_seqlens, or for return_normalizer with a
    pair, DeprecationWarning for head_first=True.
    """
    name = "chunk_abc"
    check_layout(name, head_first, q, cu_seqlens)
    check_chunk(name, chunk_size)
    pair = initial_state is not None and len(initial_state) == 2
    if pair and return_normalizer:
        raise ValueError(f"{name}: return_normalizer=True: expected initial_state with three tensors or none, got two")
    if pair:
        return slot_attention(name, "chunk", q, k, v, s, None, scale, tuple(initial_state), output_final_state,
                              cu_seqlens, chunk_size=chunk_size)
    check_packed(name, q, cu_seqlens, *(initial_state or ()))
    o, final = run(ABC, "chunk", q=q, k=k, v=v, s=s, scale=default_scale(scale, q), initial_state=initial_state,
                   output_final_state=output_final_state, cu_seqlens=cu_seqlens, chunk_size=chunk_size)
    whole = return_normalizer or initial_state is not None
    return o, final if final is None or whole else tuple(final[:2])
