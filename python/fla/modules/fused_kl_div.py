"""The KL divergence of a student's from a teacher's token distribution, both given before their last linear map.

Neither's logits are there as a whole; see :mod:`fla.modules._chunked_head`.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from ._chunked_head import HeadGradients, chunks, scaled
from ._precision import autocast_dtype, wide

__all__ = ["FusedKLDivLoss", "FusedKLDivLossFunction", "fused_kl_div_backward", "fused_kl_div_forward",
           "fused_kl_div_loss"]

_CHUNKS = 8


def _check(x, target_x, weight, target_weight, reduction):
    if reduction != "batchmean":
        raise ValueError(f"expected the reduction batchmean, got {reduction!r}")
    shapes = tuple(tuple(t.shape) for t in (x, target_x, weight, target_weight))
    fits = all(len(s) == 2 for s in shapes) and shapes[0][0] == shapes[1][0] and shapes[2][0] == shapes[3][0]
    if not fits or shapes[0][1] != shapes[2][1] or shapes[1][1] != shapes[3][1]:
        raise ValueError(f"expected x [N, H], target_x [N, H'], weight [V, H] and target_weight [V, H'], got {shapes}")


def fused_kl_div_forward(
    x: torch.Tensor,
    target_x: torch.Tensor,
    weight: torch.Tensor,
    target_weight: torch.Tensor,
    reduction: str = "batchmean",
    accumulate_grad_in_fp32: bool = True,
    needed: tuple[bool, bool] = (True, True),
    dtype: torch.dtype | None = None,
):
    """(loss, gradient of x, of the weight); ``needed`` says which of the two are computed.

    ``dtype`` is that of the logits, by default that of x and target_x.
    """
    _check(x, target_x, weight, target_weight, reduction)
    owners = x, weight
    if dtype is not None:
        x, target_x, weight, target_weight = (t.to(dtype) for t in (x, target_x, weight, target_weight))
    gradients = HeadGradients(x, weight, None, (*needed, False), accumulate_grad_in_fp32)
    (tokens, width), classes = x.shape, weight.shape[0]
    loss = wide(x.new_zeros(()))
    for rows in chunks(tokens, width, classes, _CHUNKS):
        student = wide(F.linear(x[rows], weight)).log_softmax(-1)
        teacher = wide(F.linear(target_x[rows], target_weight)).log_softmax(-1)
        p = teacher.exp()
        loss = loss + (p * (teacher - student)).sum() / tokens
        if gradients.any:
            gradients.add(rows, (student.exp() - p) / tokens)
    return loss, *gradients.results(*owners)


def fused_kl_div_backward(do: torch.Tensor, dx: torch.Tensor, dw: torch.Tensor):
    """Both gradients times the loss's, ``do []``."""
    return scaled((dx, dw), do)


class FusedKLDivLossFunction(torch.autograd.Function):
    """:func:`fused_kl_div_loss` as an autograd function; it keeps the gradients alone."""

    @staticmethod
    def forward(ctx, x, target_x, weight, target_weight, reduction="batchmean", accumulate_grad_in_fp32=True):
        needed, dtype = (ctx.needs_input_grad[0], ctx.needs_input_grad[2]), autocast_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            loss, *gradients = fused_kl_div_forward(x, target_x, weight, target_weight, reduction,
                                                    accumulate_grad_in_fp32, needed, dtype)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    def backward(ctx, do):
        dx, dw = fused_kl_div_backward(do, *ctx.saved_tensors)
        return dx, None, dw, None, None, None


def fused_kl_div_loss(
    x: torch.Tensor,
    target_x: torch.Tensor,
    weight: torch.Tensor,
    target_weight: torch.Tensor,
    reduction: str = "batchmean",
    accumulate_grad_in_fp32: bool = True,
) -> torch.Tensor:
    """sum(p_teacher (log p_teacher - log p_student)) / N.

    Args:
        x: the student's [N, H]; weight: [V, H]. Both get gradients.
        target_x: the teacher's [N, H']; target_weight: [V, H']. They are fixed: RuntimeError
            when one of them requires a gradient.
        reduction: batchmean (ValueError for another).
        accumulate_grad_in_fp32: whether chunks add up the weight's gradient in float32.

    Returns:
        The loss, a number in float32 (float64 for float64). Raises ValueError for shapes that do not fit.
    """
    if target_x.requires_grad or target_weight.requires_grad:
        raise RuntimeError("expected a fixed teacher, got target_x or target_weight that requires a gradient: detach "
                           "it, or use torch.nn.functional.kl_div where the teacher is trained too")
    return FusedKLDivLossFunction.apply(x, target_x, weight, target_weight, reduction, accumulate_grad_in_fp32)


class FusedKLDivLoss(nn.Module):
    """:func:`fused_kl_div_loss` as a module. Raises ValueError for another reduction than batchmean."""

    def __init__(self, reduction: str = "batchmean", accumulate_grad_in_fp32: bool = True):
        super().__init__()
        if reduction != "batchmean":
            raise ValueError(f"expected the reduction batchmean, got {reduction!r}")
        self.reduction = reduction
        self.accumulate_grad_in_fp32 = accumulate_grad_in_fp32

    def forward(self, x: torch.Tensor, target_x: torch.Tensor, weight: torch.Tensor,
                target_weight: torch.Tensor) -> torch.Tensor:
        """x [N, H], target_x [N, H'], weight [V, H], target_weight [V, H']: the loss."""
        return fused_kl_div_loss(x, target_x, weight, target_weight, self.reduction, self.accumulate_grad_in_fp32)
