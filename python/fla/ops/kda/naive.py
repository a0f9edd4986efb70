"""Kimi delta attention in plain PyTorch, as the paper writes it. g is a natural log."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_kda", "naive_chunk_kda", "gated_scores"]


def _prepare(q, k, v, g, beta, scale):
    """Float32 (float64 if q is), head first, q scaled and every head of q and k repeated for its values'."""
    compute = torch.promote_types(q.dtype, torch.float32)
    group = v.shape[2] // q.shape[2]
    q, k = (x.repeat_interleave(group, 2) for x in (q, k))
    q, k, v, g, beta = (x.transpose(1, 2).to(compute) for x in (q, k, v, g, beta))
    return q * (q.shape[-1] ** -0.5 if scale is None else scale), k, v, g, beta


def naive_recurrent_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = Diag(e^{g_t}) S_{t-1}, corrected by beta_t k_t (v_t - S_t^T k_t)^T; o_t = scale S_t^T q_t, token by token.

    q, k [B, T, H, K], v [B, T, HV, V], g [B, T, HV, K], beta [B, T, HV], states [B, HV, K, V].
    """
    dtype = v.dtype
    q, k, v, g, beta = _prepare(q, k, v, g, beta, scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for q_t, k_t, v_t, g_t, b_t in zip(*(x.unbind(2) for x in (q, k, v, g, beta))):
        S = g_t[..., None].exp() * S
        old = (k_t[..., None, :] @ S).squeeze(-2)
        S = S + k_t[..., None] * (b_t[..., None] * (v_t - old))[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(outputs, 1).to(dtype), S if output_final_state else None


def gated_scores(x: torch.Tensor, k: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """[..., i, j]: sum over channels of x_i k_j e^{c_i - c_j} for j <= i, 0 above."""
    decay = (c[..., :, None, :] - c[..., None, :, :]).clamp(max=0).exp()  # above the diagonal it is not used
    return torch.einsum("...ik,...jk,...ijk->...ij", x, k, decay).tril()


def naive_chunk_kda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    chunk_size: int = 64,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The same in chunks: the corrections of a chunk solve a triangular system."""
    dtype = v.dtype
    q, k, v, g, beta = _prepare(q, k, v, g, beta, scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for start in range(0, q.shape[2], chunk_size):
        piece = slice(start, start + chunk_size)
        qc, kc, vc, bc = (x[:, :, piece] for x in (q, k, v, beta[..., None]))
        c = g[:, :, piece].cumsum(-2)
        system = torch.eye(c.shape[-2], dtype=q.dtype, device=q.device) + bc * gated_scores(kc, kc, c).tril(-1)
        u = torch.linalg.solve_triangular(system, bc * (vc - (kc * c.exp()) @ S), upper=False)
        outputs.append((qc * c.exp()) @ S + gated_scores(qc, kc, c) @ u)
        left = (c[..., -1:, :] - c).exp()
        S = c[..., -1, :].exp()[..., None] * S + (kc * left).transpose(-1, -2) @ u
    return torch.cat(outputs, 2).transpose(1, 2).to(dtype), S if output_final_state else None
