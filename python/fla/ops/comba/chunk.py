"""Comba in chunks."""

from __future__ import annotations

import torch

from .._arguments import check_chunk, check_packed, default_scale
from .._calls import run
from .definition import comba

__all__ = ["chunk_comba"]


def chunk_comba(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    p: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    cu_seqlens_cpu: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Comba in chunks, forward and backward.

    q, k, p [B, T, H, K], v [B, T, H, V], beta [B, T, H] (1 if None); g [B, T, H] is a
    natural log, not positive. use_qk_l2norm_in_kernel gives q, k and p unit norm. scale
    multiplies q, K^-0.5 by default. initial_state [N, H, K, V], in float32 inside.
    cu_seqlens [N + 1] packs N sequences into a batch of 1; cu_seqlens_cpu is not needed.
    chunk_size: tokens of a chunk, a power of two.

    Returns (o [B, T, H, V] in q's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens.
    """
    name = "chunk_comba"
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size)
    return run(comba, "chunk", q=q, k=k, v=v, p=p, g=g, beta=beta, scale=default_scale(scale, k),
               normalise=use_qk_l2norm_in_kernel, initial_state=initial_state, output_final_state=output_final_state,
               cu_seqlens=cu_seqlens, chunk_size=chunk_size)
