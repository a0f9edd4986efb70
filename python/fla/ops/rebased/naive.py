"""ReBased in plain PyTorch, as the paper writes it; head first: q, k, v [B, H, T, D]."""

from __future__ import annotations

import torch

__all__ = ["naive_parallel_rebased"]


def naive_parallel_rebased(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float | None = None,
    use_norm: bool = True,
) -> torch.Tensor:
    """A v with A_ij = (scale q_i.k_j)^2 for j <= i; use_norm divides by A's row sums plus 1e-6."""
    s = q * (q.shape[-1] ** -0.5 if scale is None else scale) @ k.transpose(-2, -1)
    A = (s ** 2).tril()
    return A @ v / (A.sum(-1, keepdim=True) + 1e-6) if use_norm else A @ v
