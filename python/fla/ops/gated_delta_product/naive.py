"""Gated DeltaProduct in plain PyTorch, as the paper writes it. g is a natural log."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_gated_delta_product"]


def naive_recurrent_gated_delta_product(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None,
    beta: torch.Tensor,
    scale: float | None,
    cu_seqlens: torch.Tensor | None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    num_householder: int = 1,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S <- e^{g_t} S, then n times S <- S + beta k (v - S^T k)^T; o_t = scale S^T q_t, token by token.

    q [B, T, H, K], k [B, T n, H, K], v [B, T n, H, V], g [B, T, H], beta [B, T n, H],
    states [N, H, K, V]. cu_seqlens counts q's tokens.
    """
    n = num_householder
    if cu_seqlens is not None:
        offsets = cu_seqlens.tolist()
        parts = [naive_recurrent_gated_delta_product(
            q[:, a:b], k[:, a * n:b * n], v[:, a * n:b * n], None if g is None else g[:, a:b], beta[:, a * n:b * n],
            scale, None, None if initial_state is None else initial_state[i:i + 1], output_final_state, n)
            for i, (a, b) in enumerate(zip(offsets, offsets[1:]))]
        return torch.cat([o for o, _ in parts], 1), torch.cat([S for _, S in parts]) if output_final_state else None
    dtype = q.dtype
    compute = torch.promote_types(dtype, torch.float32)
    q, k, v, beta = (x.to(compute) for x in (q, k, v, beta))
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    S = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    steps = list(zip(*(x.unbind(1) for x in (k, v, beta))))
    gates = [None] * q.shape[1] if g is None else g.to(compute).unbind(1)
    for t, (q_t, g_t) in enumerate(zip(q.unbind(1), gates)):
        if g_t is not None:
            S = g_t[..., None, None].exp() * S
        for k_j, v_j, b_j in steps[t * n:(t + 1) * n]:
            old = (k_j[..., None, :] @ S).squeeze(-2)
            S = S + k_j[..., None] * (b_j[..., None] * (v_j - old))[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    o = torch.stack(outputs, 1) if outputs else v.new_zeros(q.shape[0], 0, *v.shape[2:])
    return o.to(dtype), S if output_final_state else None
