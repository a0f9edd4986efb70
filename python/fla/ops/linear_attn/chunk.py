"""Linear attention in chunks."""

from __future__ import annotations

import torch

from fla.lang import load

from .._arguments import check_chunk, check_layout, check_packed, default_scale
from .._calls import run

__all__ = ["chunk_linear_attn", "linear_attention"]

PLAIN, NORMALISED = load("linear_attn"), load("linear_attn_normalized")


def _split(initial_state, normalize: bool) -> tuple:
    """(S [N, H, K, V], z [N, H, K]) of a state or of the pair that normalised attention returns."""
    S, z = initial_state if normalize and isinstance(initial_state, (tuple, list)) else (initial_state, None)
    return S, None if z is None else z.squeeze(1)


def linear_attention(form: str, q, k, v, scale, initial_state, output_final_state: bool, normalize: bool, cu_seqlens,
                     **options):
    """Either recurrence in either form, with the states as callers have them."""
    S, z = _split(initial_state, normalize)
    check_packed("linear_attn", q, cu_seqlens, S, z)
    o, final = run(NORMALISED if normalize else PLAIN, form, q=q, k=k, v=v, scale=default_scale(scale, k),
                   initial_state=(S, z) if normalize else S, output_final_state=output_final_state,
                   cu_seqlens=cu_seqlens, **options)
    if normalize and final is not None:
        final = final[0], final[1].unsqueeze(1)
    return o, final


def chunk_linear_attn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | tuple | None = None,
    output_final_state: bool = False,
    normalize: bool = True,
    head_first: bool = False,
    *,
    cu_seqlens: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | tuple | None]:
    """Linear attention in chunks, forward and backward.

    q, k [B, T, H, K], v [B, T, H, V]; scale multiplies q, K^-0.5 by default. normalize
    divides by scale q.z with z the keys' sum (plus 1e-10). initial_state is S
    [N, H, K, V] or, normalised, a pair of S and z [N, 1, H, K]; S alone starts z at
    zero. States are in float32 inside. cu_seqlens [N + 1] packs N sequences into a
    batch of 1. chunk_size: tokens of a chunk, a power of two.

    Returns (o [B, T, H, V] in q's dtype, final state as initial_state has it or None).
    Raises ValueError for a wrong batch or number of states with cu_seqlens,
    DeprecationWarning for head_first=True.
    """
    check_layout("chunk_linear_attn", head_first, q, cu_seqlens)
    check_chunk("chunk_linear_attn", chunk_size)
    return linear_attention("chunk", q, k, v, scale, initial_state, output_final_state, normalize, cu_seqlens,
                            chunk_size=chunk_size)
