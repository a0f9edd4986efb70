"""A linear map and the cross entropy of its logits, which are never there as a whole.

Sources: Wijmans et al. 2024, Cut Your Losses (arXiv:2411.09009), for what it saves; Hsu et al.
2024, Liger Kernel (arXiv:2410.10989), for gradients in the forward pass.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from ._chunked_head import HeadGradients, chunks, scaled
from ._cross_entropy import Options, logit_gradient, row_terms, scores
from ._lazy import lazy_attributes
from ._precision import autocast_dtype

__all__ = ["FusedLinearCrossEntropyFunction", "FusedLinearCrossEntropyLoss", "LinearLossParallel",
           "fused_linear_cross_entropy_backward", "fused_linear_cross_entropy_forward",
           "fused_linear_cross_entropy_loss", "logsumexp_fwd"]

__getattr__ = lazy_attributes(__name__, {"LinearLossParallel": "_tensor_parallel"})


def logsumexp_fwd(x: torch.Tensor, scale: float | None = None, softcapping: float | None = None,
                  dtype: torch.dtype | None = None) -> torch.Tensor:
    """log(sum(exp(cap * tanh(scale * x / cap)))) over the last dimension of ``x [..., V]``, in ``dtype`` or x's."""
    options = Options(logit_scale=1.0 if scale is None else scale, logit_softcapping=softcapping)
    return torch.logsumexp(scores(x, options), -1).to(dtype or x.dtype)


def _check(x, target, weight, bias, reduction):
    if x.dim() != 2 or target.shape != x.shape[:1] or weight.dim() != 2 or weight.shape[1] != x.shape[1]:
        raise ValueError(f"expected x [N, H], target [N] and weight [V, H], got {tuple(x.shape)}, "
                         f"{tuple(target.shape)} and {tuple(weight.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"expected a bias of shape ({weight.shape[0]},), got {tuple(bias.shape)}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"expected a reduction among mean and sum, got {reduction!r}")


def _with_l2_warp(dlogits: torch.Tensor, logits: torch.Tensor, factor: float) -> torch.Tensor:
    """Adds factor * the largest logit of each row, at its place."""
    largest, at = logits.max(-1, keepdim=True)
    return dlogits.scatter_add(-1, at, largest.to(dlogits.dtype) * factor)


def fused_linear_cross_entropy_forward(
    x: torch.Tensor,
    target: torch.LongTensor,
    weight: torch.Tensor,
    bias: torch.Tensor = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    num_chunks: int = 8,
    reduction: str = "mean",
    use_l2warp: bool = False,
    l2_penalty_factor: float = 1e-4,
    logit_softcapping: float = None,
    accumulate_grad_in_fp32: bool = True,
    needed: tuple[bool, bool, bool] = (True, True, True),
    dtype: torch.dtype | None = None,
):
    """(loss, gradient of x, of the weight, of the bias); ``needed`` says which of the three are computed.

    ``dtype`` is that of the logits, x's by default. Arguments as of :func:`fused_linear_cross_entropy_loss`.
    """
    _check(x, target, weight, bias, reduction)
    options = Options(ignore_index, label_smoothing, logit_scale, logit_softcapping)
    owners = x, weight, bias
    x, weight, bias = (t if t is None or dtype is None else t.to(dtype) for t in owners)
    gradients = HeadGradients(x, weight, bias, needed, accumulate_grad_in_fp32)
    (tokens, width), classes = x.shape, weight.shape[0]
    held = target != ignore_index
    share = torch.where(held, 1.0, 0.0)
    if reduction == "mean":
        share = share / held.sum().clamp(min=1)
    loss = torch.zeros((), dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, device=x.device)
    for rows in chunks(tokens, width, classes, num_chunks):
        logits = F.linear(x[rows], weight, bias)
        z = scores(logits, options)
        lse = torch.logsumexp(z, -1)
        losses = lse + row_terms(z, target[rows], held[rows], label_smoothing, classes)
        loss = loss + (losses * share[rows]).sum()
        if gradients.any:
            d = logit_gradient(z, lse, target[rows], held[rows], share[rows], options, classes)
            if use_l2warp:
                d = _with_l2_warp(d, logits, l2_penalty_factor / tokens)
            gradients.add(rows, d)
    return loss, *gradients.results(*owners)


def fused_linear_cross_entropy_backward(do: torch.Tensor, dx: torch.Tensor, dw: torch.Tensor, db: torch.Tensor):
    """The three gradients times the loss's, ``do []``."""
    return scaled((dx, dw, db), do)


class FusedLinearCrossEntropyFunction(torch.autograd.Function):
    """:func:`fused_linear_cross_entropy_loss` as an autograd function; it keeps the gradients alone."""

    @staticmethod
    def forward(ctx, x, target, weight, bias=None, *options):
        needed, dtype = tuple(ctx.needs_input_grad[i] for i in (0, 2, 3)), autocast_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            loss, *gradients = fused_linear_cross_entropy_forward(x, target, weight, bias, *options, needed=needed,
                                                                  dtype=dtype)
        ctx.save_for_backward(*gradients)
        ctx.options = len(options)
        return loss

    @staticmethod
    def backward(ctx, do):
        dx, dw, db = fused_linear_cross_entropy_backward(do, *ctx.saved_tensors)
        return dx, None, dw, db, *(None,) * ctx.options


def fused_linear_cross_entropy_loss(
    x: torch.Tensor,
    target: torch.LongTensor,
    weight: torch.Tensor,
    bias: torch.Tensor = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    num_chunks: int = 8,
    reduction: str = "mean",
    use_l2warp: bool = False,
    l2_penalty_factor: float = 1e-4,
    logit_softcapping: float = None,
    accumulate_grad_in_fp32: bool = True,
) -> torch.Tensor:
    """Cross entropy of x weight^T + bias.

    Args:
        x: [N, H] in float16, bfloat16, float32 or float64; logits have its dtype, or
            autocast's, and what follows is float32 (float64 for float64).
        target: [N] classes from 0 to V-1, or ``ignore_index``, whose rows have loss 0.
        weight: [V, H]; bias: [V] or None.
        label_smoothing: share of the target that all classes have together.
        logit_scale: what logits are multiplied by first.
        num_chunks: about how many parts the N tokens are taken in, at most.
        reduction: mean, over the targets that are not ignored (0 when there is none), or sum.
        use_l2warp, l2_penalty_factor: adds the gradient of :func:`fla.modules.l2warp.l2_warp`.
        logit_softcapping: c of c * tanh(logits / c) after the scale, or None.
        accumulate_grad_in_fp32: whether chunks add up the gradients of weight and bias in float32.

    Returns:
        The loss, a number in float32 (float64 for float64). Raises ValueError for shapes that do not fit.
    """
    return FusedLinearCrossEntropyFunction.apply(
        x, target, weight, bias, ignore_index, label_smoothing, logit_scale, num_chunks, reduction, use_l2warp,
        l2_penalty_factor, logit_softcapping, accumulate_grad_in_fp32)


class FusedLinearCrossEntropyLoss(nn.Module):
    """:func:`fused_linear_cross_entropy_loss` as a module. Raises ValueError for another reduction than mean and sum."""

    def __init__(
        self,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        logit_scale: float = 1.0,
        num_chunks: int = 8,
        reduction: str = "mean",
        use_l2warp: bool = False,
        l2_penalty_factor: float = 1e-4,
        logit_softcapping: float = None,
        accumulate_grad_in_fp32: bool = True,
    ):
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"expected a reduction among mean and sum, got {reduction!r}")
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.logit_scale = logit_scale
        self.logit_softcapping = logit_softcapping
        self.num_chunks = num_chunks
        self.reduction = reduction
        self.use_l2warp = use_l2warp
        self.l2_penalty_factor = l2_penalty_factor
        self.accumulate_grad_in_fp32 = accumulate_grad_in_fp32

    def forward(self, x: torch.Tensor, target: torch.LongTensor, weight: torch.Tensor,
                bias: torch.Tensor | None = None) -> torch.Tensor:
        """x [..., H], target [...], weight [V, H] and bias [V] or None: the loss."""
        return fused_linear_cross_entropy_loss(
            x.reshape(-1, x.shape[-1]), target.reshape(-1), weight, bias, self.ignore_index, self.label_smoothing,
            self.logit_scale, self.num_chunks, self.reduction, self.use_l2warp, self.l2_penalty_factor,
            self.logit_softcapping, self.accumulate_grad_in_fp32)
