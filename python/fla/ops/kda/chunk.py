"""Kimi delta attention in chunks."""

from __future__ import annotations

import torch

from .._arguments import (check_chunk, check_heads, check_packed, check_reflections, default_scale, refuse_context,
                          v_first)
from .._calls import run
from .._chunk_states import chunk_states
from .definition import kda
from .gate import gate_arguments

__all__ = ["chunk_kda"]


def chunk_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    cu_seqlens_cpu: torch.Tensor | None = None,
    cp_context=None,
    *,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    chunk_size: int | None = None,
    transpose_state_layout: bool | None = None,
) -> tuple[torch.Tensor, ...]:
    """Kimi delta attention in chunks, forward and backward.

    q, k [B, T, H, K], v [B, T, HV, V], beta [B, T, HV]; g [B, T, HV, K] is a natural log,
    not positive. k has unit norm, or is given it by use_qk_l2norm_in_kernel, as q then
    is: x / sqrt(x.x + 1e-6). With use_gate_in_kernel g holds logits, and the gate is
    -e^A_log softplus(g + dt_bias) or, with lower_bound, lower_bound sigmoid(e^A_log (g +
    dt_bias)); A_log [HV] may be None for the second, dt_bias [HV K] for both. With
    use_beta_sigmoid_in_kernel beta holds logits, and sigmoid(beta) is the rate, twice
    that with allow_neg_eigval. scale multiplies q, K^-0.5 by default. initial_state
    [N, HV, K, V], in float32 inside; with state_v_first [N, HV, V, K]. cu_seqlens
    [N + 1] packs N sequences into a batch of 1. chunk_size: 32 or 64.

    safe_gate only checks lower_bound, and disable_recompute changes nothing: any gate is
    safe, and what is kept for the backward is chosen by FLA_STATES; cu_seqlens_cpu is
    not needed.

    Returns (o [B, T, HV, V] in q's dtype, final state in float32 or None) and, with
    return_intermediate_states, the states at the chunks' starts [B, chunks, HV, K, V]
    in bfloat16, without a gradient. Raises ValueError for arguments that do not go
    together, NotImplementedError for a cp_context.
    """
    name = "chunk_kda"
    check_heads(name, q, k, v)
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size, (32, 64))
    check_reflections(name, allow_neg_eigval, use_beta_sigmoid_in_kernel)
    refuse_context(name, cp_context)
    swapped = v_first(name, state_v_first, transpose_state_layout)
    gate = gate_arguments(name, g, use_gate_in_kernel, A_log, dt_bias, lower_bound, safe_gate)
    call = dict(q=q, k=k, v=v, g=g, beta=beta, scale=default_scale(scale, k), **gate,
                normalise=use_qk_l2norm_in_kernel, logits=use_beta_sigmoid_in_kernel, reflect=allow_neg_eigval,
                initial_state=initial_state, cu_seqlens=cu_seqlens, state_v_first=swapped)
    o, final = run(kda, "chunk", output_final_state=output_final_state, chunk_size=chunk_size, **call)
    return (o, final, chunk_states(kda, chunk_size or 64, **call)) if return_intermediate_states else (o, final)
