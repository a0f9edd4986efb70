"""Gated slot attention in plain PyTorch, as the paper writes it. g is a natural log."""

from __future__ import annotations

import torch

from .slots import shares

__all__ = ["naive_recurrent_gsa"]


def naive_recurrent_gsa(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    s: torch.Tensor,
    g: torch.Tensor | None = None,
    scale: float | None = None,
    initial_state: tuple[torch.Tensor, torch.Tensor] | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
    """Hk decays and takes k s^T, Hv decays and takes s v^T; o = Hv^T softmax(scale Hk^T q), token by token.

    q [B, T, HQ, K], k [B, T, H, K], v [B, T, H, V], s, g [B, T, H, M], states [B, H, K, M] and
    [B, H, M, V]; without g slots are shares of a softmax over the past.
    """
    dtype, group = q.dtype, q.shape[2] // k.shape[2]
    if g is None:
        s, g = shares(s)
    q, k, v, s, g = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v, s, g))
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    batch, _, heads, _ = k.shape
    Hk = q.new_zeros(batch, heads, k.shape[-1], s.shape[-1])
    Hv = q.new_zeros(batch, heads, s.shape[-1], v.shape[-1])
    if initial_state is not None:
        Hk, Hv = Hk + initial_state[0], Hv + initial_state[1]
    outputs = []
    for q_t, k_t, v_t, s_t, g_t in zip(*(x.unbind(1) for x in (q, k, v, s, g))):
        decay = g_t.exp()
        Hk = decay[..., None, :] * Hk + k_t[..., None] * s_t[..., None, :]
        Hv = decay[..., None] * Hv + s_t[..., None] * v_t[..., None, :]
        queries = q_t.unflatten(1, (heads, group))  # the heads that share a state
        outputs.append(((queries @ Hk).softmax(-1) @ Hv).flatten(1, 2))
    return torch.stack(outputs, 1).to(dtype), (Hk, Hv) if output_final_state else None
