"""Preconditioned Kimi delta attention in plain PyTorch, as the paper writes it. Gates are natural logs."""

from __future__ import annotations

import torch

from ..precond_gated_delta_rule.naive import precond_recurrence

__all__ = ["naive_recurrent_precond_kda"]


def naive_recurrent_precond_kda(
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
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: torch.Tensor | float | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """The recurrence token by token, q and k as they come.

    q, k, g [B, T, H, K], v [B, T, H, V], g_atk, beta_atk, beta [B, T, H], states [B, H, K, V]
    and [B, H, K].
    """
    o, S, A = precond_recurrence(q, k, v, g_atk, g, beta_atk, beta, scale, initial_state, initial_A_state, x, eps,
                                 log_atk_scale)
    return o.to(v.dtype), S if output_final_state else None, A if output_final_state else None
