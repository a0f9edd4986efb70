"""Simple GLA in chunks."""

from __future__ import annotations

import torch

from fla.lang import load

from .._arguments import check_chunk, check_layout, check_packed, default_scale, v_first
from .._calls import run

__all__ = ["chunk_simple_gla"]

SIMPLE_GLA = load("simple_gla")


def chunk_simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    g_gamma: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    state_v_first: bool = False,
    transpose_state_layout: bool | None = None,
    cu_seqlens_cpu: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Simple GLA in chunks, forward and backward.

    q, k [B, T, H, K], v [B, T, H, V]; q and k may have fewer heads than v. g [B, T, H]
    and g_gamma [H] are natural logs, not positive; without both nothing decays.
    scale multiplies q, K^-0.5 by default. initial_state [N, H, K, V], in float32
    inside; with state_v_first [N, H, V, K]. cu_seqlens [N + 1] packs N sequences into
    a batch of 1; cu_seqlens_cpu is not needed. chunk_size: tokens of a chunk, a power
    of two.

    Returns (o [B, T, H, V] in q's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens, and
    DeprecationWarning for head_first=True.
    """
    name = "chunk_simple_gla"
    check_layout(name, head_first, q, cu_seqlens)
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size)
    return run(SIMPLE_GLA, "chunk", q=q, k=k, v=v, g=g, g_gamma=g_gamma, scale=default_scale(scale, k),
               initial_state=initial_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
               chunk_size=chunk_size, state_v_first=v_first(name, state_v_first, transpose_state_layout))
