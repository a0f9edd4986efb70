"""The preconditioned gated delta rule in plain PyTorch, as the paper writes it. Gates are natural logs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

__all__ = ["naive_recurrent_precond_gated_delta_rule", "preconditioner", "precond_recurrence"]


def preconditioner(A: torch.Tensor, centre, x: float, eps: float) -> torch.Tensor:
    """M = x^{-z/(1+|z|)}, z = log(A + eps) - centre: between 1/x for a large curvature A [B, H, K] and x for none."""
    z = (A + eps).log() - centre
    return (-math.log(x) * z / (1 + z.abs())).exp()


def precond_recurrence(q, k, v, g_atk, g, beta_atk, beta, scale, S, A, x, eps, log_atk_scale):
    """(o, S, A), token by token; g [B, T, HV] or [B, T, HV, K], every tensor of k's heads H dividing HV."""
    compute = torch.promote_types(q.dtype, torch.float32)
    group = v.shape[2] // k.shape[2]
    q, k, v, g_atk, g, beta_atk, beta = (y.to(compute) for y in (q, k, v, g_atk, g, beta_atk, beta))
    centre = -0.2 if log_atk_scale is None else log_atk_scale
    centre = centre.to(compute)[:, None] if isinstance(centre, torch.Tensor) else centre
    q = q.repeat_interleave(group, 2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    g = g[..., None] if g.dim() == 3 else g
    A = k.new_zeros(k.shape[0], *k.shape[2:]) if A is None else A
    S = k.new_zeros(k.shape[0], v.shape[2], k.shape[-1], v.shape[-1]) if S is None else S
    outputs = []
    for q_t, k_t, v_t, ga_t, g_t, ba_t, b_t in zip(*(y.unbind(1) for y in (q, k, v, g_atk, g, beta_atk, beta))):
        A = ga_t[..., None].exp() * A + ba_t[..., None] * k_t ** 2
        key, written = (y.repeat_interleave(group, 1) for y in (k_t, k_t * preconditioner(A, centre, x, eps)))
        S = g_t[..., None].exp() * S
        old = (key[..., None, :] @ S).squeeze(-2)
        S = S + written[..., None] * (b_t[..., None] * (v_t - old))[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(outputs, 1), S, A


def naive_recurrent_precond_gated_delta_rule(
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
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: torch.Tensor | float | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """The recurrence token by token, with q and k normalised to unit length first.

    q, k [B, T, H, K], g_atk, beta_atk [B, T, H], v [B, T, HV, V], g, beta [B, T, HV], states
    [B, HV, K, V] and [B, H, K].
    """
    q, k = (F.normalize(y.to(torch.promote_types(y.dtype, torch.float32)), dim=-1) for y in (q, k))
    o, S, A = precond_recurrence(q, k, v, g_atk, g, beta_atk, beta, scale, initial_state, initial_A_state, x, eps,
                                 log_atk_scale)
    return o, S if output_final_state else None, A if output_final_state else None
