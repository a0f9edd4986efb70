"""Preconditioned Kimi delta attention token by token."""

from __future__ import annotations

import torch

from ..kda.gate import gate_arguments
from ..precond_gated_delta_rule.chunk import run_precond
from ..precond_gated_delta_rule.definition import precond_kda
from .._arguments import check_packed, default_scale

__all__ = ["fused_recurrent_precond_kda"]


def fused_recurrent_precond_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    g_atk: torch.Tensor,
    beta_atk: torch.Tensor,
    beta: torch.Tensor,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    initial_A_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = True,
    use_gate_in_kernel: bool = False,
    lower_bound: float | None = None,
    cu_seqlens: torch.Tensor | None = None,
    transpose_state_layout: bool = False,
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Preconditioned Kimi delta attention token by token, forward; the backward goes in chunks.

    As chunk_precond_kda; use_qk_l2norm_in_kernel=False takes q and k as they are.
    """
    name = "fused_recurrent_precond_kda"
    check_packed(name, q, cu_seqlens, initial_state, initial_A_state)
    return run_precond(precond_kda, "recurrent", q=q, k=k, v=v, g=g, g_atk=g_atk, beta_atk=beta_atk, beta=beta,
                       log_atk_scale=log_atk_scale, scale=default_scale(scale, k), x=x, eps=eps,
                       normalise=use_qk_l2norm_in_kernel,
                       **gate_arguments(name, g, use_gate_in_kernel, A_log, dt_bias, lower_bound),
                       initial_state=initial_state, initial_A_state=initial_A_state,
                       output_final_state=output_final_state, cu_seqlens=cu_seqlens,
                       transpose_state_layout=transpose_state_layout)
