"""RWKV-7's channel mixing: a token shift, then a feed-forward layer with a squared ReLU."""

from __future__ import annotations

import torch

__all__ = ["channel_mixing_rwkv7", "channel_mixing_rwkv7_torch", "rwkv_mix_torch", "rwkv_relu_and_square_torch"]


def rwkv_mix_torch(x: torch.Tensor, x_prev: torch.Tensor, x_k: torch.Tensor) -> torch.Tensor:
    """x + (predecessor - x) x_k: x [B, T, D], x_prev [B, D] or [B, 1, D] before the first token, x_k [1, 1, D]."""
    x_prev = x_prev.unsqueeze(1) if x_prev.dim() == 2 else x_prev
    return x.addcmul(torch.cat((x_prev, x[:, :-1]), 1) - x, x_k)


def rwkv_relu_and_square_torch(x: torch.Tensor) -> torch.Tensor:
    """max(x, 0)^2."""
    return torch.relu(x) ** 2


def channel_mixing_rwkv7_torch(x, x_prev, x_k, key_weight, value_weight) -> tuple[torch.Tensor, torch.Tensor]:
    """(max(mixed x key_weight, 0)^2 value_weight [B, T, D], x's last row of the batch)."""
    k = rwkv_relu_and_square_torch(rwkv_mix_torch(x, x_prev, x_k) @ key_weight)
    return k @ value_weight, x[-1, :]


def channel_mixing_rwkv7(
    x: torch.Tensor,
    x_prev: torch.Tensor,
    x_k: torch.Tensor,
    key_weight: torch.Tensor,
    value_weight: torch.Tensor,
    inplace: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Channel mixing, forward and backward; inplace changes nothing, the inputs are never written to.

    x [B, T, D], x_prev [B, D] or [B, 1, D], x_k [1, 1, D], key_weight [D, F], value_weight
    [F, D]. Raises ValueError for x of other than three dimensions.
    """
    if x.dim() != 3:
        raise ValueError(f"channel_mixing_rwkv7: x: expected shape [B, T, D], got {list(x.shape)}")
    return channel_mixing_rwkv7_torch(x, x_prev, x_k, key_weight, value_weight)
