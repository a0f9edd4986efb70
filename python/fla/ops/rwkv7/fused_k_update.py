"""RWKV-7's key: scaled by a learned mixture of 1 and the in-context rate."""

from __future__ import annotations

import torch

from fla.modules._precision import cast

__all__ = ["fused_k_rwkv7", "k_update_ref"]


def k_update_ref(k: torch.Tensor, a: torch.Tensor, ka: torch.Tensor) -> torch.Tensor:
    """k (1 + (a - 1) ka): k, a [B, T, D], ka [D] or [1, 1, D]."""
    return k.addcmul(k * (a - 1), ka)


class _KeyUpdate(torch.autograd.Function):
    """k_update_ref with its arithmetic in float32 and rounded once."""

    @staticmethod
    def forward(ctx, k, a, ka):
        ctx.save_for_backward(k, a, ka)
        return cast(k.float() * (1 + (a.float() - 1) * ka.float()), k.dtype)

    @staticmethod
    def backward(ctx, grad):
        k, a, ka = ctx.saved_tensors
        grad, k32, a32, ka32 = grad.float(), k.float(), a.float(), ka.float()
        shared = grad * k32
        d_ka = (shared * (a32 - 1)).sum_to_size(ka.shape)
        return (grad * (1 + (a32 - 1) * ka32)).to(k.dtype), (shared * ka32).to(a.dtype), d_ka.to(ka.dtype)


def fused_k_rwkv7(k: torch.Tensor, a: torch.Tensor, ka: torch.Tensor, cu_seqlens=None, cu_seqlens_cpu=None):
    """k (1 + (a - 1) ka), in float32 inside: k, a [B, T, D], ka [D] or [1, 1, D].

    The tokens are independent, so that neither kind of cu_seqlens is needed.
    """
    return _KeyUpdate.apply(k, a, ka)
