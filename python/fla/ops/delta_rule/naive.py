"""The delta rule in plain PyTorch, as the papers write it; head first: q, k, v [B, H, T, D], beta [B, H, T]."""

from __future__ import annotations

import torch

from ..gated_delta_rule.naive import naive_chunk_gated_delta_rule

__all__ = ["delta_rule_recurrence", "delta_rule_chunkwise", "delta_rule_parallel", "naive_delta_rule_parallel"]


def delta_rule_recurrence(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """S_t = S_{t-1} + k_t (beta_t (v_t - S_{t-1}^T k_t))^T, o_t = K^-0.5 S_t^T q_t, token by token.

    beta [B, H, T] or, for a rate of each channel, [B, H, T, V]; states [B, H, K, V].
    """
    dtype = q.dtype
    q, k, v, beta = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v, beta))
    beta = beta[..., None] if beta.dim() == 3 else beta
    q = q * q.shape[-1] ** -0.5
    S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    S = S if initial_state is None else S + initial_state
    outputs = []
    for q_t, k_t, v_t, b_t in zip(*(x.unbind(2) for x in (q, k, v, beta))):
        old = (k_t[..., None, :] @ S).squeeze(-2)
        S = S + k_t[..., None] * (b_t * (v_t - old))[..., None, :]
        outputs.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(outputs, 2).to(dtype), S if output_final_state else None


def delta_rule_chunkwise(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    chunk_size: int = 32,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in chunks (arXiv:2406.06484, section 3), without an initial state."""
    q, k, v, beta = (x.transpose(1, 2) for x in (q, k, v, beta))
    o, S = naive_chunk_gated_delta_rule(q, k, v, torch.zeros_like(beta), beta, chunk_size, output_final_state=True)
    return o.transpose(1, 2), S


def delta_attention(q: torch.Tensor, k: torch.Tensor, beta: torch.Tensor, scale: float) -> torch.Tensor:
    """[B, H, T, T]: A = tril(scale Q K^T) (I + tril(diag(beta) K K^T, -1))^-1, so that o = A (beta v)."""
    q, k = (x.transpose(1, 2).to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k))
    inner = beta.transpose(1, 2)[..., None].to(k.dtype) * (k @ k.transpose(-1, -2)).tril(-1)
    system = torch.eye(k.shape[-2], dtype=k.dtype, device=k.device) + inner
    scores = (scale * q @ k.transpose(-1, -2)).tril()
    return torch.linalg.solve_triangular(system, scores, upper=False, left=False)


def naive_delta_rule_parallel(q, k, v, beta, BM: int = 128, BN: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """(o [B, H, T, V], A [B, H, T, T]) of q, k, v [B, H, T, D] and beta [B, H, T]; the blocks BM, BN change nothing."""
    A = delta_attention(*(x.transpose(1, 2) for x in (q, k, beta)), q.shape[-1] ** -0.5)
    return (A @ (beta[..., None] * v).to(A.dtype)).to(q.dtype), A


delta_rule_parallel = naive_delta_rule_parallel
