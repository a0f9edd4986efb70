"""The gated delta rule in chunks."""

from __future__ import annotations

import torch

from .._arguments import (check_chunk, check_heads, check_layout, check_packed, check_reflections, default_scale,
                          refuse_context, v_first)
from .._calls import run
from .definition import gated_delta_rule

__all__ = ["chunk_gated_delta_rule", "chunk_gdn"]


def check_gate(name: str, use_gate_in_kernel: bool, g, A_log) -> None:
    """Raises ValueError where a gate is to be made of logits and one of its parts is missing."""
    for part, x in (("A_log", A_log), ("g", g)):
        if use_gate_in_kernel and x is None:
            raise ValueError(f"{name}: use_gate_in_kernel=True: expected {part}, got None")


def chunk_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None,
    beta: torch.Tensor | None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    *,
    use_gate_in_kernel: bool = False,
    A_log: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    transpose_state_layout: bool | None = None,
    cu_seqlens_cpu: torch.Tensor | None = None,
    chunk_indices: torch.Tensor | None = None,
    cp_context=None,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The gated delta rule in chunks, forward and backward, in any of the dtypes.

    q, k [B, T, H, K], v [B, T, HV, V], beta [B, T, HV] (1 if None); g [B, T, HV] is a
    natural log, not positive, or None for no decay. k has unit norm, or is given it by
    use_qk_l2norm_in_kernel, as q then is: x / sqrt(x.x + 1e-6). With use_gate_in_kernel
    g is a logit and the gate -e^A_log softplus(g + dt_bias), A_log and dt_bias [HV];
    with use_beta_sigmoid_in_kernel beta is one, and sigmoid(beta) the rate, twice that
    with allow_neg_eigval. scale multiplies q, K^-0.5 by default. initial_state
    [N, HV, K, V], in float32 inside; with state_v_first [N, HV, V, K]. cu_seqlens
    [N + 1] packs N sequences into a batch of 1; cu_seqlens_cpu and chunk_indices are
    not needed. chunk_size: 16, 32 or 64.

    Returns (o [B, T, HV, V] in q's dtype, final state in float32 or None). Raises
    ValueError for head counts, batch, states or flags that do not go together,
    DeprecationWarning for head_first=True, NotImplementedError for a cp_context.
    """
    name = "chunk_gated_delta_rule"
    check_layout(name, head_first, q, cu_seqlens)
    check_heads(name, q, k, v)
    check_packed(name, q, cu_seqlens, initial_state)
    check_chunk(name, chunk_size, (16, 32, 64))
    check_gate(name, use_gate_in_kernel, g, A_log)
    check_reflections(name, allow_neg_eigval, use_beta_sigmoid_in_kernel)
    refuse_context(name, cp_context)
    if not use_gate_in_kernel:
        A_log = dt_bias = None
    return run(gated_delta_rule, "chunk", q=q, k=k, v=v, g=g, beta=beta, A_log=A_log, dt_bias=dt_bias,
               scale=default_scale(scale, k), normalise=use_qk_l2norm_in_kernel, logits=use_beta_sigmoid_in_kernel,
               reflect=allow_neg_eigval, initial_state=initial_state, output_final_state=output_final_state,
               cu_seqlens=cu_seqlens, chunk_size=chunk_size,
               state_v_first=v_first(name, state_v_first, transpose_state_layout))


chunk_gdn = chunk_gated_delta_rule
