"""A penalty on each row's largest logit that shows in the gradient alone, against overconfident bfloat16 models.

Source: the training code of RWKV (Peng et al. 2023).
"""

from __future__ import annotations

import torch

__all__ = ["L2Wrap", "l2_warp"]


class L2Wrap(torch.autograd.Function):
    """:func:`l2_warp` as an autograd function; it keeps one number and one place per row."""

    @staticmethod
    def forward(ctx, loss, logits, l2_penalty_factor=1e-4):
        largest, at = logits.max(-1, keepdim=True)
        ctx.save_for_backward(largest * (l2_penalty_factor / (logits.shape[0] * logits.shape[1])), at)
        ctx.shape = logits.shape
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx, dloss):
        penalty, at = ctx.saved_tensors
        dlogits = penalty.new_zeros(ctx.shape).scatter(-1, at, penalty * dloss.to(penalty.dtype))
        return dloss, dlogits, None


def l2_warp(loss: torch.Tensor, logits: torch.Tensor, l2_penalty_factor: float = 1e-4) -> torch.Tensor:
    """The loss, a number, unchanged; on the way back ``logits [B, T, V]`` get factor * max / (B T) at their largest."""
    return L2Wrap.apply(loss, logits, l2_penalty_factor)
