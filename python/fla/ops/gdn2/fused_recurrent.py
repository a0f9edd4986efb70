"""Gated DeltaNet-2 token by token."""

from __future__ import annotations

import torch

from ..kda.gate import gate_arguments
from .._arguments import check_packed, default_scale, v_first
from .._calls import run
from .definition import gdn2

__all__ = ["fused_recurrent_gdn2"]


def fused_recurrent_gdn2(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    b: torch.Tensor,
    w: torch.Tensor,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    transpose_state_layout: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Gated DeltaNet-2 token by token, forward; the backward goes in chunks. Arguments as chunk_gdn2's."""
    name = "fused_recurrent_gdn2"
    check_packed(name, q, cu_seqlens, initial_state)
    return run(gdn2, "recurrent", q=q, k=k, v=v, g=g, b=b, w=w, scale=default_scale(scale, k),
               **gate_arguments(name, g, use_gate_in_kernel, A_log, dt_bias, lower_bound),
               normalise=use_qk_l2norm_in_kernel, initial_state=initial_state, output_final_state=output_final_state,
               cu_seqlens=cu_seqlens, state_v_first=v_first(name, state_v_first, transpose_state_layout))
