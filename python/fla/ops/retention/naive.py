"""Retention in plain PyTorch, in the paper's parallel representation."""

from __future__ import annotations

import torch

__all__ = ["naive_retention"]


def naive_retention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """(K^-0.5 Q K^T * D) V with D_ij = (1 - 2^(-5-h))^(i-j) for j <= i; q, k, v are head first, [B, H, T, D]."""
    dtype = q.dtype
    q, k, v = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v))
    heads, tokens = q.shape[1:3]
    gamma = torch.log1p(-torch.exp2(-5.0 - torch.arange(heads, device=q.device, dtype=torch.float64)))
    age = torch.arange(tokens, device=q.device)
    age = (age[:, None] - age).clamp(min=0)
    D = (gamma[:, None, None] * age).exp().to(q.dtype).tril()
    return (q.shape[-1] ** -0.5 * q @ k.transpose(-1, -2) * D @ v).to(dtype)
