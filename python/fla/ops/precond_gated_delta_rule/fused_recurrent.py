"""The preconditioned gated delta rule token by token."""

from __future__ import annotations

import torch

from .._arguments import check_heads, check_packed, default_scale
from .chunk import run_precond
from .definition import precond_gated_delta_rule, precond_kda

__all__ = ["fused_recurrent_precond_gated_delta_rule", "fused_recurrent_pgdn"]


def _gate(name: str, v, g, gk, gv) -> tuple:
    """(definition, gate) of a gate a head or a gate a channel of the keys; no gate is one of zeros."""
    if gv is not None or g is not None and gk is not None:
        raise ValueError(f"{name}: expected one gate, g [B, T, HV] or gk [B, T, HV, K], got "
                         f"{', '.join(n for n, x in (('g', g), ('gk', gk), ('gv', gv)) if x is not None)}")
    if gk is not None:
        return precond_kda, gk
    return precond_gated_delta_rule, v.new_zeros(v.shape[:3]) if g is None else g


def fused_recurrent_precond_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    gk: torch.Tensor | None = None,
    gv: torch.Tensor | None = None,
    beta: torch.Tensor | None = None,
    g_atk: torch.Tensor | None = None,
    beta_atk: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    initial_A_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = True,
    cu_seqlens: torch.Tensor | None = None,
    transpose_state_layout: bool = False,
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """The preconditioned gated delta rule token by token, forward; the backward goes in chunks.

    As chunk_precond_gated_delta_rule. g may be left out, or be gk [B, T, HV, K], a gate
    a channel of the keys; beta and beta_atk are 1 by default, g_atk 0. Raises ValueError
    for two gates and for gv, which no definition has with a preconditioner.
    """
    name = "fused_recurrent_precond_gated_delta_rule"
    check_heads(name, q, k, v)
    check_packed(name, q, cu_seqlens, initial_state, initial_A_state)
    definition, gate = _gate(name, v, g, gk, gv)
    beta = v.new_ones(v.shape[:3]) if beta is None else beta
    g_atk = k.new_zeros(k.shape[:3]) if g_atk is None else g_atk
    beta_atk = k.new_ones(k.shape[:3]) if beta_atk is None else beta_atk
    return run_precond(definition, "recurrent", q=q, k=k, v=v, g_atk=g_atk, g=gate, beta_atk=beta_atk, beta=beta,
                       log_atk_scale=log_atk_scale, scale=default_scale(scale, k), x=x, eps=eps,
                       normalise=use_qk_l2norm_in_kernel, initial_state=initial_state,
                       initial_A_state=initial_A_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
                       transpose_state_layout=transpose_state_layout)


fused_recurrent_pgdn = fused_recurrent_precond_gated_delta_rule
