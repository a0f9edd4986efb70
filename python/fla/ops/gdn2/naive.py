"""Gated DeltaNet-2 in plain PyTorch, as the paper writes it. g is a natural log."""

from __future__ import annotations

import torch

from ..kda.naive import gated_scores

__all__ = ["naive_recurrent_gdn2", "naive_chunk_gdn2"]


def _prepare(q, k, v, g, b, w, scale):
    """Float32 (float64 if q is), head first, q scaled."""
    compute = torch.promote_types(q.dtype, torch.float32)
    q, k, v, g, b, w = (x.transpose(1, 2).to(compute) for x in (q, k, v, g, b, w))
    return q * (q.shape[-1] ** -0.5 if scale is None else scale), k, v, g, b, w


def naive_recurrent_gdn2(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    b: torch.Tensor,
    w: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = Diag(e^{g_t}) S_{t-1}, corrected by k_t (w_t v_t - S_t^T (b_t k_t))^T; o_t = scale S_t^T q_t.

    q, k, g, b [B, T, H, K], v, w [B, T, H, V], states [B, H, K, V].
    """
    dtype = v.dtype
    q, k, v, g, b, w = _prepare(q, k, v, g, b, w, scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for q_t, k_t, v_t, g_t, b_t, w_t in zip(*(x.unbind(2) for x in (q, k, v, g, b, w))):
        S = g_t[..., None].exp() * S
        erased = ((b_t * k_t)[..., None, :] @ S).squeeze(-2)
        S = S + k_t[..., None] * (w_t * v_t - erased)[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(outputs, 1).to(dtype), S if output_final_state else None


def naive_chunk_gdn2(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    b: torch.Tensor,
    w: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    chunk_size: int = 64,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The same in chunks: the corrections of a chunk solve a triangular system."""
    dtype = v.dtype
    q, k, v, g, b, w = _prepare(q, k, v, g, b, w, scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for start in range(0, q.shape[2], chunk_size):
        qc, kc, vc, gc, bc, wc = (x[:, :, start:start + chunk_size] for x in (q, k, v, g, b, w))
        c = gc.cumsum(-2)
        system = torch.eye(c.shape[-2], dtype=q.dtype, device=q.device) + gated_scores(bc * kc, kc, c).tril(-1)
        u = torch.linalg.solve_triangular(system, wc * vc - (bc * kc * c.exp()) @ S, upper=False)
        outputs.append((qc * c.exp()) @ S + gated_scores(qc, kc, c) @ u)
        left = (c[..., -1:, :] - c).exp()
        S = c[..., -1, :].exp()[..., None] * S + (kc * left).transpose(-1, -2) @ u
    return torch.cat(outputs, 2).transpose(1, 2).to(dtype), S if output_final_state else None
