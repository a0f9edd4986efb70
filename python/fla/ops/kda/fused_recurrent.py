"""Kimi delta attention token by token."""

from __future__ import annotations

import torch

from .._arguments import check_heads, check_packed, check_reflections, default_scale, v_first
from .._calls import run
from .definition import kda
from .gate import gate_arguments

__all__ = ["fused_recurrent_kda"]


def fused_recurrent_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    transpose_state_layout: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Kimi delta attention token by token, forward; the backward goes in chunks. Arguments as chunk_kda's."""
    name = "fused_recurrent_kda"
    check_heads(name, q, k, v)
    check_packed(name, q, cu_seqlens, initial_state)
    check_reflections(name, allow_neg_eigval, use_beta_sigmoid_in_kernel)
    return run(kda, "recurrent", q=q, k=k, v=v, g=g, beta=beta, scale=default_scale(scale, k),
               **gate_arguments(name, g, use_gate_in_kernel, A_log, dt_bias, lower_bound),
               normalise=use_qk_l2norm_in_kernel, logits=use_beta_sigmoid_in_kernel, reflect=allow_neg_eigval,
               initial_state=initial_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
               state_v_first=v_first(name, state_v_first, transpose_state_layout))
