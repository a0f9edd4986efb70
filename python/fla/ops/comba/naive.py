"""Comba in plain PyTorch, as the paper writes it. g is a natural log."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_comba", "naive_chunk_comba"]


def _prepare(q, k, v, p, beta, g, scale):
    """Float32 (float64 if q is), head first, q scaled."""
    compute = torch.promote_types(q.dtype, torch.float32)
    q, k, v, p, beta, g = (x.transpose(1, 2).to(compute) for x in (q, k, v, p, beta, g))
    return q * (q.shape[-1] ** -0.5 if scale is None else scale), k, v, p, beta, g


def naive_recurrent_comba(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    p: torch.Tensor,
    beta: torch.Tensor,
    g: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = e^{g_t} S_{t-1} + beta_t k_t (v_t - S_{t-1}^T p_t)^T, o_t = scale S_t^T q_t, token by token.

    q, k, p [B, T, H, K], v [B, T, H, V], beta, g [B, T, H], states [B, H, K, V].
    """
    dtype = q.dtype
    q, k, v, p, beta, g = _prepare(q, k, v, p, beta, g, scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for q_t, k_t, v_t, p_t, b_t, g_t in zip(*(x.unbind(2) for x in (q, k, v, p, beta, g))):
        fed_back = (p_t[..., None, :] @ S).squeeze(-2)
        written = b_t[..., None] * (v_t - fed_back)
        S = g_t[..., None, None].exp() * S + k_t[..., None] * written[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(outputs, 1).to(dtype), S if output_final_state else None


def naive_chunk_comba(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    p: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    chunk_size: int = 64,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The same in chunks: what the tokens of a chunk write solves a triangular system."""
    dtype = q.dtype
    q, k, v, p, beta, g = _prepare(q, k, v, p, beta, g, scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for start in range(0, q.shape[2], chunk_size):
        piece = slice(start, start + chunk_size)
        qc, kc, vc, pc, bc, gc = (x[:, :, piece] for x in (q, k, v, p, beta, g))
        c = gc.cumsum(-1)
        before = c - gc  # what has decayed when p reads
        seen = (before[..., :, None] - c[..., None, :]).tril(-1).exp().tril(-1)
        system = torch.eye(c.shape[-1], dtype=q.dtype, device=q.device) \
            + bc[..., None] * (pc @ kc.transpose(-1, -2)) * seen
        right = bc[..., None] * (vc - before.exp()[..., None] * (pc @ S))
        u = torch.linalg.solve_triangular(system, right, upper=False)
        decay = (c[..., :, None] - c[..., None, :]).tril().exp().tril()
        outputs.append(c.exp()[..., None] * (qc @ S) + (qc @ kc.transpose(-1, -2) * decay) @ u)
        left = (c[..., -1:] - c).exp()[..., None]
        S = c[..., -1].exp()[..., None, None] * S + (kc * left).transpose(-1, -2) @ u
    return torch.cat(outputs, 2).transpose(1, 2).to(dtype), S if output_final_state else None
