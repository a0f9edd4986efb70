"""Cross entropy of logits that are at hand: one pass to a loss per row, gradients from the logits and their lse."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn as nn

from ._cross_entropy import Options, blocks, logit_gradient, row_terms, scores

__all__ = ["CrossEntropyLossFunction", "FusedCrossEntropyLoss", "cross_entropy_loss", "fused_cross_entropy_forward"]


def _check(logits, target):
    if logits.dim() != 2 or target.shape != logits.shape[:1]:
        raise ValueError(f"expected logits [N, V] and a target [N], got {tuple(logits.shape)} and "
                         f"{tuple(target.shape)}")


def _held(target, classes: int, start: int, ignore_index: int, split: bool):
    """The target counted from this process's first class, and where it is one of its classes.

    With one process every target that is not ignored must be a class: the gather that
    follows raises an error for another.
    """
    local = target - start
    held = target != ignore_index
    return local, held & (local >= 0) & (local < classes) if split else held


def _over_processes(lse, terms, group):
    """The lse of all classes, and the terms summed over the processes that hold them."""
    parts = [torch.empty_like(lse) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, lse.contiguous(), group=group)
    dist.all_reduce(terms, group=group)
    return torch.logsumexp(torch.stack(parts), 0), terms


def fused_cross_entropy_forward(
    logits: torch.Tensor,
    target: torch.Tensor,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    lse_square_scale: float = 0.0,
    ignore_index: int = -100,
    process_group=None,
    logit_softcapping: float = None,
):
    """(losses [N], z losses [N], lse [N], number of all classes, this process's first class); see the loss below."""
    _check(logits, target)
    options = Options(ignore_index, label_smoothing, logit_scale, logit_softcapping, lse_square_scale)
    world, rank = (1, 0) if process_group is None else (dist.get_world_size(process_group),
                                                        dist.get_rank(process_group))
    width = logits.shape[1]
    classes, start = width * world, width * rank
    local, held = _held(target, width, start, ignore_index, world > 1)
    lses, terms = [], []
    for rows in blocks(logits):
        z = scores(logits[rows], options)
        lses.append(torch.logsumexp(z, -1))
        terms.append(row_terms(z, local[rows], held[rows], label_smoothing, classes))
    lse, terms = torch.cat(lses), torch.cat(terms)
    if world > 1:
        lse, terms = _over_processes(lse, terms, process_group)
    ignored = target == ignore_index
    z_losses = (lse_square_scale * lse.square()).masked_fill(ignored, 0.0)
    return (lse + terms).masked_fill(ignored, 0.0) + z_losses, z_losses, lse, classes, start


class CrossEntropyLossFunction(torch.autograd.Function):
    """:func:`cross_entropy_loss` as an autograd function: it keeps the logits and one number per row."""

    @staticmethod
    def forward(ctx, logits, target, label_smoothing=0.0, logit_scale=1.0, lse_square_scale=0.0, ignore_index=-100,
                inplace_backward=False, process_group=None, logit_softcapping=None):
        losses, z_losses, lse, classes, start = fused_cross_entropy_forward(
            logits, target, label_smoothing, logit_scale, lse_square_scale, ignore_index, process_group,
            logit_softcapping)
        ctx.save_for_backward(logits, lse, target)
        ctx.mark_non_differentiable(z_losses)
        ctx.options = Options(ignore_index, label_smoothing, logit_scale, logit_softcapping, lse_square_scale)
        # A graph may give the logits to its caller, and would give what a backward made of them.
        ctx.inplace = inplace_backward and not torch.compiler.is_compiling()
        ctx.classes, ctx.start = classes, start
        return losses, z_losses

    @staticmethod
    def backward(ctx, dlosses, _):
        logits, lse, target = ctx.saved_tensors
        options, width = ctx.options, logits.shape[1]
        local, held = _held(target, width, ctx.start, options.ignore_index, ctx.classes != width)
        factor = dlosses.masked_fill(target == options.ignore_index, 0.0)
        dlogits = logits if ctx.inplace else torch.empty_like(logits)
        for rows in blocks(logits):
            dlogits[rows] = logit_gradient(scores(logits[rows], options), lse[rows], local[rows], held[rows],
                                           factor[rows], options, ctx.classes)
        return dlogits, None, None, None, None, None, None, None, None


def cross_entropy_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    lse_square_scale: float = 0.0,
    ignore_index=-100,
    inplace_backward: bool = False,
    process_group=None,
    logit_softcapping: float = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy row by row.

    Args:
        logits: [N, V] in float16, bfloat16, float32 or float64.
        target: [N] classes from 0 to V-1, or ``ignore_index``, whose rows have loss 0.
        label_smoothing: share of the target that all classes have together.
        logit_scale: what logits are multiplied by first.
        lse_square_scale: weight of the squared log-sum-exp in the loss, the z loss.
        inplace_backward: whether the gradient overwrites the logits; not under torch.compile.
        process_group: processes that hold V classes each, in order of their ranks; targets
            then count over the classes of all.
        logit_softcapping: c of c * tanh(logits / c) after the scale, or None.

    Returns:
        losses [N] and z losses [N], float32 (float64 for float64); the latter have no gradient.

    Raises ValueError for shapes that do not fit.
    """
    return CrossEntropyLossFunction.apply(logits, target, label_smoothing, logit_scale, lse_square_scale,
                                          ignore_index, inplace_backward, process_group, logit_softcapping)


class FusedCrossEntropyLoss(nn.Module):
    """:func:`cross_entropy_loss` as a module.

    ``reduction`` is mean (over the rows that are not ignored), sum or none; another one raises
    NotImplementedError. ``return_z_loss`` also returns the z loss, reduced alike, without gradient.
    """

    def __init__(
        self,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        logit_scale: float = 1.0,
        lse_square_scale: float = 0.0,
        inplace_backward: bool = False,
        process_group: Any = None,
        return_z_loss: bool = False,
        logit_softcapping: float = None,
    ):
        super().__init__()
        if reduction not in ("mean", "none", "sum"):
            raise NotImplementedError(f"expected a reduction among mean, none and sum, got {reduction!r}")
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.logit_scale = logit_scale
        self.lse_square_scale = lse_square_scale
        self.logit_softcapping = logit_softcapping
        self.inplace_backward = inplace_backward
        self.process_group = process_group
        self.return_z_loss = return_z_loss

    def _reduced(self, losses: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.reduction == "none":
            return losses
        total = losses.sum()
        return total / (target != self.ignore_index).sum() if self.reduction == "mean" else total

    def forward(self, input: torch.Tensor, target: torch.Tensor):
        """input [N, V] and target [N]: the loss, or (loss, z loss)."""
        losses, z_losses = cross_entropy_loss(
            input, target, self.label_smoothing, self.logit_scale, self.lse_square_scale, self.ignore_index,
            self.inplace_backward, self.process_group, self.logit_softcapping)
        loss = self._reduced(losses, target)
        return (loss, self._reduced(z_losses, target)) if self.return_z_loss else loss
