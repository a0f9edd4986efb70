"""The preconditioned gated delta rule in chunks."""

from __future__ import annotations

import torch

from .._arguments import check_chunk, check_heads, check_layout, check_packed, default_scale, refuse_context
from .._calls import run
from .definition import precond_gated_delta_rule

__all__ = ["chunk_precond_gated_delta_rule", "run_precond"]


def run_precond(definition, form: str, *, initial_state, initial_A_state, transpose_state_layout: bool,
                **call) -> tuple:
    """(o, S or None, A or None); transpose_state_layout swaps the axes of S alone."""
    if transpose_state_layout and initial_state is not None:
        initial_state = initial_state.transpose(-1, -2)
    o, final = run(definition, form, initial_state=(initial_state, initial_A_state), **call)
    S, A = (None, None) if final is None else final
    return o, S.transpose(-1, -2) if transpose_state_layout and S is not None else S, A


def chunk_precond_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g_atk: torch.Tensor,
    g: torch.Tensor,
    beta_atk: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    initial_A_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = True,
    cu_seqlens: torch.Tensor | None = None,
    cu_seqlens_cpu: torch.Tensor | None = None,
    cp_context=None,
    transpose_state_layout: bool = False,
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: torch.Tensor | None = None,
    *,
    head_first: bool = False,
    chunk_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """The preconditioned gated delta rule in chunks, forward and backward.

    q, k [B, T, H, K], g_atk, beta_atk [B, T, H], v [B, T, HV, V], g, beta [B, T, HV]; g and
    g_atk are natural logs, not positive. use_qk_l2norm_in_kernel gives q and k unit norm.
    x bounds the preconditioner, which lies between 1/x and x; log_atk_scale [H] is its
    centre, -0.2 by default. scale multiplies q, K^-0.5 by default. initial_state
    [N, HV, K, V] ([N, HV, V, K] with transpose_state_layout) and initial_A_state
    [N, H, K], in float32 inside. cu_seqlens [N + 1] packs N sequences into a batch of 1;
    cu_seqlens_cpu is not needed.

    Returns (o [B, T, HV, V] in q's dtype, final S or None, final A or None). Raises
    ValueError for head counts, batch or states that do not go together,
    DeprecationWarning for head_first=True, NotImplementedError for a cp_context.
    """
    name = "chunk_precond_gated_delta_rule"
    check_layout(name, head_first, q, cu_seqlens)
    check_heads(name, q, k, v)
    check_packed(name, q, cu_seqlens, initial_state, initial_A_state)
    check_chunk(name, chunk_size)
    refuse_context(name, cp_context)
    return run_precond(precond_gated_delta_rule, "chunk", q=q, k=k, v=v, g_atk=g_atk, g=g, beta_atk=beta_atk,
                       beta=beta, log_atk_scale=log_atk_scale, scale=default_scale(scale, k), x=x, eps=eps,
                       normalise=use_qk_l2norm_in_kernel, initial_state=initial_state,
                       initial_A_state=initial_A_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
                       chunk_size=chunk_size, transpose_state_layout=transpose_state_layout)
