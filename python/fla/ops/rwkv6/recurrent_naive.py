"""RWKV-6 in plain PyTorch, as the paper writes it; head first: q, k, v, w [B, H, T, D], u [H, K].

w is a natural log.
"""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_rwkv6", "naive_recurrent_rwkv6_bwd"]


def naive_recurrent_rwkv6(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """o_t = scale (S_{t-1} + Diag(u) k_t v_t^T)^T q_t, S_t = Diag(e^{w_t}) S_{t-1} + k_t v_t^T, token by token."""
    dtype = q.dtype
    q, k, v, w, u = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v, w, u))
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for q_t, k_t, v_t, w_t in zip(*(x.unbind(2) for x in (q, k, v, w))):
        written = k_t[..., None] * v_t[..., None, :]
        outputs.append((q_t[..., None, :] @ (S + u[..., None] * written)).squeeze(-2))
        S = w_t[..., None].exp() * S + written
    return torch.stack(outputs, 2).to(dtype), S if output_final_state else None


def naive_recurrent_rwkv6_bwd(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    o: torch.Tensor,
    do: torch.Tensor,
    initial_state: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """(dq, dk, dv, dw, du, dh0) of naive_recurrent_rwkv6 with scale 1, dh0 of a zero state if none is given."""
    start = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1], dtype=torch.float32)
    start = start if initial_state is None else start + initial_state.detach()
    leaves = [x.detach().float().requires_grad_() for x in (q, k, v, w, u, start)]
    with torch.enable_grad():
        out, _ = naive_recurrent_rwkv6(*leaves[:5], scale=1.0, initial_state=leaves[5])
    return torch.autograd.grad(out, leaves, do.float())
