"""RWKV-6 in chunks."""

from __future__ import annotations

import torch

from fla.lang import load

from .._arguments import check_chunk, check_layout, check_packed, default_scale
from .._calls import run

__all__ = ["chunk_rwkv6"]

RWKV6 = load("rwkv6")


def chunk_rwkv6(
    r: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    cu_seqlens_cpu: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """RWKV-6 in chunks, forward and backward.

    r, k [B, T, H, K], v [B, T, H, V]; w [B, T, H, K] is a natural log, not positive;
    u [H, K] is the bonus of a token itself. scale multiplies r, K^-0.5 by default.
    initial_state [N, H, K, V], in float32 inside. cu_seqlens [N + 1] packs N sequences
    into a batch of 1; cu_seqlens_cpu is not needed. chunk_size: tokens of a chunk, a
    power of two.

    Returns (o [B, T, H, V] in r's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens,
    DeprecationWarning for head_first=True.
    """
    name = "chunk_rwkv6"
    check_layout(name, head_first, r, cu_seqlens)
    check_packed(name, r, cu_seqlens, initial_state)
    check_chunk(name, chunk_size)
    return run(RWKV6, "chunk", r=r, k=k, v=v, w=w, u=u, scale=default_scale(scale, k), initial_state=initial_state,
               output_final_state=output_final_state, cu_seqlens=cu_seqlens, chunk_size=chunk_size)
