"""The gated delta rule token by token."""

from __future__ import annotations

import torch

from .._arguments import check_heads, check_packed, check_reflections, default_scale, v_first
from .._calls import run
from .._columns import in_columns
from .chunk import check_gate
from .definition import gated_delta_rule

__all__ = ["fused_recurrent_gated_delta_rule", "fused_recurrent_gdn"]


def fused_recurrent_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    gk: torch.Tensor | None = None,
    gv: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    *,
    use_gate_in_kernel: bool = False,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    transpose_state_layout: bool | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The gated delta rule token by token, forward; the backward goes in chunks.

    As chunk_gated_delta_rule, with two more natural-log gates, each optional: gk
    [B, T, HV, K] of the keys' channels and gv [B, T, HV, V] of the values'. beta may be
    [B, T, HV, V], a rate for each channel of the values.
    """
    name = "fused_recurrent_gated_delta_rule"
    check_heads(name, q, k, v)
    check_packed(name, q, cu_seqlens, initial_state)
    check_gate(name, use_gate_in_kernel, g, A_log)
    check_reflections(name, allow_neg_eigval, use_beta_sigmoid_in_kernel)
    if not use_gate_in_kernel:
        A_log = dt_bias = None
    call = run if beta is None or beta.dim() == 3 else in_columns
    return call(gated_delta_rule, "recurrent", q=q, k=k, v=v, g=g, gk=gk, gv=gv, beta=beta, A_log=A_log,
                dt_bias=dt_bias, scale=default_scale(scale, k), normalise=use_qk_l2norm_in_kernel,
                logits=use_beta_sigmoid_in_kernel, reflect=allow_neg_eigval, initial_state=initial_state,
                output_final_state=output_final_state, cu_seqlens=cu_seqlens,
                state_v_first=v_first(name, state_v_first, transpose_state_layout))


fused_recurrent_gdn = fused_recurrent_gated_delta_rule
