"""RWKV-7's channel mixing: a token shift, then a feed-forward layer with a squared ReLU."""

from __future__ import annotations

import torch

from fla.modules._precision import cast

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


class _Mix(torch.autograd.Function):
    """rwkv_mix_torch with its arithmetic in float32 and rounded once."""

    @staticmethod
    def forward(ctx, x, x_prev, x_k):
        ctx.save_for_backward(x, x_prev, x_k)
        return cast(rwkv_mix_torch(*_wide(x, x_prev, x_k)), x.dtype)

    @staticmethod
    def backward(ctx, grad):
        x, x_prev, x_k = ctx.saved_tensors
        grad, x32, prev32, x_k32 = _wide(grad, x, x_prev, x_k)
        before = torch.cat((prev32.view(prev32.shape[0], 1, -1), x32[:, :-1]), 1)
        shifted = grad * x_k32  # what reaches each token's predecessor
        d_x = grad - shifted
        d_x[:, :-1] += shifted[:, 1:]
        d_x_k = (grad * (before - x32)).sum_to_size(x_k.shape)
        return d_x.to(x.dtype), shifted[:, 0].reshape(x_prev.shape).to(x_prev.dtype), d_x_k.to(x_k.dtype)


def _wide(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


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
    k = rwkv_relu_and_square_torch(_Mix.apply(x, x_prev, x_k) @ key_weight)
    return k @ value_weight, x[-1, :]
