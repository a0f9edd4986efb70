"""Based in plain PyTorch, as the paper writes it; head first: q, k, v [B, H, T, D]."""

from __future__ import annotations

import torch

__all__ = ["naive_parallel_based", "naive_chunk_based"]


def naive_parallel_based(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    use_norm: bool = True,
) -> torch.Tensor:
    """A v with A_ij = 1 + s + s^2/2, s = scale q_i.k_j for j <= i; use_norm divides by A's row sums plus 1e-6."""
    s = q * (q.shape[-1] ** -0.5 if scale is None else scale) @ k.transpose(-2, -1)
    A = (1 + s + s ** 2 / 2).tril()
    return A @ v / (A.sum(-1, keepdim=True) + 1e-6) if use_norm else A @ v


def _features(x: torch.Tensor) -> torch.Tensor:
    """[..., 1 + D + D^2]: phi(x).phi(y) = 1 + x.y + (x.y)^2/2."""
    pairs = (x[..., :, None] * x[..., None, :]).flatten(-2)
    return torch.cat((torch.ones_like(x[..., :1]), x, 0.5 ** 0.5 * pairs), -1)


def naive_chunk_based(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, chunk_size: int = 256) -> torch.Tensor:
    """The same in chunks: scores inside a chunk, sums of phi(k) v^T and phi(k) from one to the next."""
    q, k = _features(q * q.shape[-1] ** -0.5), _features(k)
    S, z, outputs = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1]), q.new_zeros(*q.shape[:2], q.shape[-1], 1), []
    for start in range(0, q.shape[2], chunk_size):
        qc, kc, vc = (x[:, :, start:start + chunk_size] for x in (q, k, v))
        A = (qc @ kc.transpose(-2, -1)).tril()
        outputs.append((qc @ S + A @ vc) / (qc @ z + A.sum(-1, keepdim=True) + 1e-6))
        S, z = S + kc.transpose(-2, -1) @ vc, z + kc.sum(-2)[..., None]
    return torch.cat(outputs, 2)
