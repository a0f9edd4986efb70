"""Preconditioned Kimi delta attention in chunks."""

from __future__ import annotations

import torch

from ..kda.gate import gate_arguments
from ..precond_gated_delta_rule.chunk import run_precond
from ..precond_gated_delta_rule.definition import precond_kda
from .._arguments import check_chunk, check_packed, default_scale, refuse_context

__all__ = ["chunk_precond_kda"]


def chunk_precond_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    g_atk: torch.Tensor,
    beta_atk: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    initial_A_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_gate_in_kernel: bool = False,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    cu_seqlens: torch.Tensor | None = None,
    cu_seqlens_cpu: torch.Tensor | None = None,
    chunk_indices: torch.Tensor | None = None,
    cp_context=None,
    transpose_state_layout: bool = False,
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: torch.Tensor | None = None,
    solve_tril_precision: str | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    *,
    use_qk_l2norm_in_kernel: bool = True,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Preconditioned Kimi delta attention in chunks, forward and backward.

    q, k, g [B, T, H, K], v [B, T, H, V], g_atk, beta_atk, beta [B, T, H]; gates are natural
    logs, not positive. q and k are given unit norm unless use_qk_l2norm_in_kernel is
    False. A_log, dt_bias, lower_bound and safe_gate as in chunk_kda; x, eps,
    log_atk_scale and the states as in chunk_precond_gated_delta_rule.
    solve_tril_precision and disable_recompute change nothing: systems are solved in
    float32; cu_seqlens_cpu and chunk_indices are not needed.

    Returns (o [B, T, H, V] in q's dtype, final S or None, final A or None). Raises
    ValueError for arguments that do not go together, NotImplementedError for a
    cp_context and for return_intermediate_states.
    """
    name = "chunk_precond_kda"
    check_packed(name, q, cu_seqlens, initial_state, initial_A_state)
    check_chunk(name, chunk_size)
    refuse_context(name, cp_context)
    if return_intermediate_states:
        raise NotImplementedError(f"{name}: return_intermediate_states: expected False, got True")
    return run_precond(precond_kda, "chunk", q=q, k=k, v=v, g=g, g_atk=g_atk, beta_atk=beta_atk, beta=beta,
                       log_atk_scale=log_atk_scale, scale=default_scale(scale, k), x=x, eps=eps,
                       normalise=use_qk_l2norm_in_kernel,
                       **gate_arguments(name, g, use_gate_in_kernel, A_log, dt_bias, lower_bound, safe_gate),
                       initial_state=initial_state, initial_A_state=initial_A_state,
                       output_final_state=output_final_state, cu_seqlens=cu_seqlens, chunk_size=chunk_size,
                       transpose_state_layout=transpose_state_layout)
