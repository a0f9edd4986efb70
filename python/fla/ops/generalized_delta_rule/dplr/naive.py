"""The diagonal-plus-low-rank delta rule in plain PyTorch; head first: q, k, v [B, H, T, D]. gk is a natural log."""

from __future__ import annotations

import torch

from ...kda.naive import gated_scores

__all__ = ["dplr_recurrence", "dplr_chunkwise"]


def dplr_recurrence(q, k, v, alpha, beta, gk, initial_state=None, output_final_state: bool = True):
    """S_t = (Diag(e^{gk_t}) + beta_t alpha_t^T) S_{t-1} + k_t v_t^T, o_t = K^-0.5 S_t^T q_t, token by token.

    q, k, alpha, beta, gk [B, H, T, K], v [B, H, T, V], states [B, H, K, V]; float32 (float64 if q is).
    """
    dtype = q.dtype
    q, k, v, alpha, beta, gk = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v, alpha, beta, gk))
    q = q * q.shape[-1] ** -0.5
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for q_t, k_t, v_t, a_t, b_t, g_t in zip(*(x.unbind(2) for x in (q, k, v, alpha, beta, gk))):
        read = a_t[..., None, :] @ S
        S = g_t[..., None].exp() * S + b_t[..., None] * read + k_t[..., None] * v_t[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(outputs, 2).to(dtype), S if output_final_state else None


def dplr_chunkwise(q, k, v, alpha, beta, gk, initial_state=None, output_final_state: bool = True, chunk_size: int = 32):
    """The same in chunks: what the tokens of a chunk read through alpha solves a triangular system."""
    dtype = q.dtype
    q, k, v, alpha, beta, gk = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v, alpha, beta, gk))
    q = q * q.shape[-1] ** -0.5
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for start in range(0, q.shape[2], chunk_size):
        qc, kc, vc, ac, bc, gc = (x[:, :, start:start + chunk_size] for x in (q, k, v, alpha, beta, gk))
        c = gc.cumsum(-2)
        undecayed = ac * (-gc).exp()  # alpha reads what its own token has not decayed yet
        system = torch.eye(c.shape[-2], dtype=q.dtype, device=q.device) - gated_scores(undecayed, bc, c).tril(-1)
        right = gated_scores(undecayed, kc, c).tril(-1) @ vc + (ac * (c - gc).exp()) @ S
        u = torch.linalg.solve_triangular(system, right, upper=False)
        outputs.append((qc * c.exp()) @ S + gated_scores(qc, kc, c) @ vc + gated_scores(qc, bc, c) @ u)
        left = (c[..., -1:, :] - c).exp()
        S = c[..., -1, :].exp()[..., None] * S + (kc * left).transpose(-1, -2) @ vc + (bc * left).transpose(-1, -2) @ u
    return torch.cat(outputs, 2).to(dtype), S if output_final_state else None
