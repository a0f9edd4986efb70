"""The gated delta rule in plain PyTorch, as the paper writes it. g is a natural log."""

from __future__ import annotations

import torch

__all__ = ["naive_recurrent_gated_delta_rule", "naive_chunk_gated_delta_rule"]


def _prepare(q, k, v, beta, g, scale):
    """Float32 (float64 if q is), head first, q scaled and every head of q and k repeated for its values'."""
    compute = torch.promote_types(q.dtype, torch.float32)
    group = v.shape[2] // q.shape[2]
    q, k = (x.repeat_interleave(group, 2) for x in (q, k))
    q, k, v, beta, g = (x.transpose(1, 2).to(compute) for x in (q, k, v, beta, g))
    return q * (q.shape[-1] ** -0.5 if scale is None else scale), k, v, beta, g


def naive_recurrent_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    g: torch.Tensor,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = e^{g_t} S_{t-1}, corrected by beta_t k_t (v_t - S_t^T k_t)^T; o_t = scale S_t^T q_t, token by token.

    q, k [B, T, H, K], v [B, T, HV, V], beta, g [B, T, HV], states [B, HV, K, V].
    """
    dtype = q.dtype
    q, k, v, beta, g = _prepare(q, k, v, beta, g, scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for q_t, k_t, v_t, b_t, g_t in zip(*(x.unbind(2) for x in (q, k, v, beta, g))):
        S = g_t[..., None, None].exp() * S
        old = (k_t[..., None, :] @ S).squeeze(-2)
        S = S + k_t[..., None] * (b_t[..., None] * (v_t - old))[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(outputs, 1).to(dtype), S if output_final_state else None


def naive_chunk_gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    chunk_size: int = 64,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The same in chunks (arXiv:2412.06464, section 3.3): the corrections of a chunk solve a triangular system."""
    dtype = q.dtype
    q, k, v, beta, g = _prepare(q, k, v, beta, g, scale)
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for start in range(0, q.shape[2], chunk_size):
        piece = slice(start, start + chunk_size)
        qc, kc, vc, bc = (x[:, :, piece] for x in (q, k, v, beta))
        c = g[:, :, piece].cumsum(-1)
        decay = (c[..., :, None] - c[..., None, :]).tril().exp().tril()
        system = torch.eye(c.shape[-1], dtype=q.dtype, device=q.device) \
            + bc[..., None] * (kc @ kc.transpose(-1, -2) * decay).tril(-1)
        right = bc[..., None] * (vc - c.exp()[..., None] * (kc @ S))
        u = torch.linalg.solve_triangular(system, right, upper=False)  # what each token writes
        outputs.append(c.exp()[..., None] * (qc @ S) + (qc @ kc.transpose(-1, -2) * decay) @ u)
        left = (c[..., -1:] - c).exp()[..., None]
        S = c[..., -1].exp()[..., None, None] * S + (kc * left).transpose(-1, -2) @ u
    return torch.cat(outputs, 2).transpose(1, 2).to(dtype), S if output_final_state else None
