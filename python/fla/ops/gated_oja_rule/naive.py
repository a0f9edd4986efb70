"""The gated Oja rule in plain PyTorch, as the paper writes it. gv is a natural log."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_gated_oja_rule"]


def naive_recurrent_gated_oja_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gv: torch.Tensor | None,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S' = S_{t-1} Diag(e^{gv_t}), S_t = S' + beta_t (k_t - S' v_t) v_t^T, o_t = scale S_t^T q_t, token by token.

    q, k [B, T, H, K], v, gv [B, T, H, V], beta [B, T, H], states [B, H, K, V].
    """
    dtype = q.dtype
    compute = torch.promote_types(dtype, torch.float32)
    q, k, v, beta = (x.to(compute) for x in (q, k, v, beta))
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    S = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    gates = [None] * q.shape[1] if gv is None else gv.to(compute).unbind(1)
    for q_t, k_t, v_t, b_t, g_t in zip(*(x.unbind(1) for x in (q, k, v, beta)), gates):
        if g_t is not None:
            S = S * g_t[..., None, :].exp()
        explained = (S @ v_t[..., None]).squeeze(-1)
        S = S + (b_t[..., None] * (k_t - explained))[..., None] * v_t[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(outputs, 1).to(dtype), S if output_final_state else None
