"""Gated DeltaNet-2 in chunks."""

from __future__ import annotations

import torch

from ..kda.gate import gate_arguments
from .._arguments import check_chunk, check_packed, default_scale, v_first
from .._calls import run
from .._chunk_states import chunk_states
from .definition import gdn2

__all__ = ["chunk_gdn2"]


def chunk_gdn2(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    b: torch.Tensor,
    w: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    cu_seqlens_cpu: torch.Tensor | None = None,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    *,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    chunk_size: int | None = None,
    transpose_state_layout: bool | None = None,
) -> tuple[torch.Tensor, ...]:
    """Gated DeltaNet-2 in chunks, forward and backward.

    q, k, b [B, T, H, K], v, w [B, T, H, V]; g [B, T, H, K] is a natural log, not positive.
    Other arguments, results and errors as chunk_kda's, but chunk_size is 64.
    """
    name = "chunk_gdn2"
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size, (64,))
    call = dict(q=q, k=k, v=v, g=g, b=b, w=w, scale=default_scale(scale, k), normalise=use_qk_l2norm_in_kernel,
                **gate_arguments(name, g, use_gate_in_kernel, A_log, dt_bias, lower_bound, safe_gate),
                initial_state=initial_state, cu_seqlens=cu_seqlens,
                state_v_first=v_first(name, state_v_first, transpose_state_layout))
    o, final = run(gdn2, "chunk", output_final_state=output_final_state, chunk_size=chunk_size, **call)
    return (o, final, chunk_states(gdn2, chunk_size or 64, **call)) if return_intermediate_states else (o, final)
