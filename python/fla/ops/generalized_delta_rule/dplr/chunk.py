"""The diagonal-plus-low-rank delta rule in chunks."""

from __future__ import annotations

import torch

from fla.lang import load

from ..._arguments import check_chunk, check_layout, check_packed, default_scale, refuse_context
from ..._calls import run

__all__ = ["chunk_dplr_delta_rule"]

DPLR = load("dplr_delta_rule")


def chunk_dplr_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    gk: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    cu_seqlens_cpu: torch.Tensor | None = None,
    safe_gate: bool = False,
    chunk_size: int | None = None,
    disable_recompute: bool = False,
    cp_context=None,
    lower_bound: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The diagonal-plus-low-rank delta rule in chunks, forward and backward, in any of the dtypes.

    q, k, a, b [B, T, H, K], v [B, T, H, V]; gk [B, T, H, K] is a natural log, not positive.
    scale multiplies q, K^-0.5 by default. initial_state [N, H, K, V], in float32 inside.
    cu_seqlens [N + 1] packs N sequences into a batch of 1. chunk_size: tokens of a
    chunk, a power of two. safe_gate, lower_bound, disable_recompute and cu_seqlens_cpu
    change nothing: any gate is safe.

    Returns (o [B, T, H, V] in q's dtype, final state in float32 or None). Raises
    ValueError for a wrong batch or number of states with cu_seqlens and for
    lower_bound >= 0, DeprecationWarning for head_first=True, NotImplementedError for a
    cp_context.
    """
    name = "chunk_dplr_delta_rule"
    check_layout(name, head_first, q, cu_seqlens)
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size)
    refuse_context(name, cp_context)
    if lower_bound is not None and lower_bound >= 0:
        raise ValueError(f"{name}: lower_bound: expected a negative number, a bound of gk, got {lower_bound}")
    return run(DPLR, "chunk", q=q, k=k, v=v, a=a, b=b, gk=gk, scale=default_scale(scale, k),
               initial_state=initial_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
               chunk_size=chunk_size)
