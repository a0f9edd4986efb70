"""GLA in plain PyTorch, as the paper writes it."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_gla"]


def naive_recurrent_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gk: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = Diag(e^{gk_t}) S_{t-1} + k_t v_t^T, o_t = K^-0.5 S_t^T q_t, token by token in float32 (float64 if q is).

    q, k, gk [B, T, H, K], v [B, T, H, V], states [B, H, K, V]; gk is a natural log.
    """
    dtype = q.dtype
    q, k, v, gk = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v, gk))
    q = q * q.shape[-1] ** -0.5
    S = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for q_t, k_t, v_t, g_t in zip(*(x.unbind(1) for x in (q, k, v, gk))):
        S = g_t[..., None].exp() * S + k_t[..., None] * v_t[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    o = torch.stack(outputs, 1) if outputs else v.new_zeros(v.shape)
    return o.to(dtype), S if output_final_state else None
