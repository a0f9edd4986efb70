"""The loss of group relative policy optimisation, from logits without a float32 copy of all of them.

Source: Shao et al. 2024, DeepSeekMath (arXiv:2402.03300), equations 3 and 4.
"""

from __future__ import annotations

import torch

from ._cross_entropy import blocks
from ._precision import wide

__all__ = ["GrpoLoss", "fused_grpo_loss", "grpo_loss_torch", "grpo_loss_with_old_logps"]


def _log_probabilities(logits: torch.Tensor, ids: torch.Tensor):
    """(log p of ids [n], lse [n]) of ``logits [n, V]``, block by block, in float32 or float64."""
    lses, picked = [], []
    for rows in blocks(logits):
        z = wide(logits[rows])
        lses.append(torch.logsumexp(z, -1))
        picked.append(z.gather(-1, ids[rows].unsqueeze(-1)).squeeze(-1))
    lse = torch.cat(lses)
    return torch.cat(picked) - lse, lse


class GrpoLoss(torch.autograd.Function):
    """(loss, KL) of :func:`fused_grpo_loss` as an autograd function; the KL has no gradient of its own."""

    @staticmethod
    def forward(ctx, logits, ref_logp, input_ids, advantages, beta, completion_mask, inplace):
        batch, length = logits.shape[0], logits.shape[1] - 1
        # Copied, like what is kept below: inputs of inference mode cannot be.
        ids = input_ids[:, input_ids.shape[1] - length:].clone()
        parts = [_log_probabilities(logits[b, :-1], ids[b]) for b in range(batch)]
        logp, lse = (torch.stack(t) for t in zip(*parts))
        difference = wide(ref_logp) - logp
        kl = torch.exp(difference) - difference - 1
        loss = beta * kl - wide(advantages).unsqueeze(1)
        slope = beta * (1 - torch.exp(difference)) - wide(advantages).unsqueeze(1)
        if completion_mask is not None:
            loss, kl, slope = (t.masked_fill(completion_mask == 0, 0.0) for t in (loss, kl, slope))
        ctx.save_for_backward(logits, ids, lse, slope)
        ctx.inplace = inplace
        ctx.mark_non_differentiable(kl)
        return loss, kl

    @staticmethod
    def backward(ctx, dloss, _):
        logits, ids, lse, slope = ctx.saved_tensors
        dlogp = slope * dloss
        dlogits = logits if ctx.inplace else torch.empty_like(logits)
        for b in range(logits.shape[0]):
            for rows in blocks(logits[b, :-1]):
                p = torch.exp(wide(logits[b, rows]) - lse[b, rows, None])
                at, one = ids[b, rows, None], torch.ones_like(p[:, :1])
                dlogits[b, rows] = (-p).scatter_add(-1, at, one) * dlogp[b, rows, None]
        dlogits[:, -1] = 0  # the last position predicts a token that is not there
        return dlogits, None, None, None, None, None, None


def fused_grpo_loss(logits, ref_logp, input_ids, advantages, beta=0.1, completion_mask=None, save_kl=False,
                    inplace=False):
    """beta * KL - advantage for each token of a completion, at an importance ratio of one.

    Args:
        logits: [B, L+1, V], the model's for the L tokens of the completion and one more.
        ref_logp: [B, L], the reference model's log probabilities of these tokens.
        input_ids: [B, P+L], prompt and completion.
        advantages: [B].
        beta: weight of the KL divergence exp(r) - r - 1, r = ref_logp - logp.
        completion_mask: [B, L]; 0 for tokens without loss.
        save_kl: whether the KL divergence is returned too, without gradient.
        inplace: whether the gradient overwrites the logits.

    Returns:
        loss [B, L], or (loss, kl), in float32 (float64 for float64 logits).
    """
    _check(logits, ref_logp, input_ids)
    loss, kl = GrpoLoss.apply(logits, ref_logp, input_ids, advantages, beta, completion_mask, inplace)
    return (loss, kl) if save_kl else loss


def _check(logits, ref_logp, input_ids):
    batch, length = logits.shape[0], logits.shape[1] - 1
    if logits.dim() != 3 or ref_logp.shape != (batch, length) or input_ids.shape[0] != batch \
            or input_ids.shape[1] < length:
        raise ValueError(f"expected logits [B, L+1, V], ref_logp [B, L] and input_ids [B, P+L], got "
                         f"{tuple(logits.shape)}, {tuple(ref_logp.shape)} and {tuple(input_ids.shape)}")


def grpo_loss_torch(logits, ref_logp, input_ids, advantages, beta=0.1, completion_mask=None, save_kl=False):
    """:func:`fused_grpo_loss` in the dtype of the logits, by PyTorch's autograd; its KL has a gradient."""
    logits = logits[:, :-1]
    ids = input_ids[:, -logits.shape[1]:].unsqueeze(-1)
    logp = logits.log_softmax(-1).gather(-1, ids).squeeze(-1)
    difference = ref_logp - logp
    kl = torch.exp(difference) - difference - 1
    # The ratio is one, and its gradient that of logp.
    loss = beta * kl - torch.exp(logp - logp.detach()) * advantages.unsqueeze(1)
    if completion_mask is not None:
        loss, kl = loss * completion_mask, kl * completion_mask
    return (loss, kl) if save_kl else loss


def grpo_loss_with_old_logps(
    logps: torch.Tensor,
    ref_logps: torch.Tensor,
    old_logps: torch.Tensor,
    pad_mask: torch.Tensor,
    logits_to_keep: int,
    rewards: torch.Tensor,
    beta: float = 0.2,
    epsilon: float = 0.2,
) -> torch.Tensor:
    """The loss with clipped importance ratios exp(logps - old_logps), a number.

    Args:
        logps, ref_logps, old_logps: [B, L] log probabilities under the policy, the reference
            and the policy that generated; pad_mask: bool [B, L], False for padding.
        logits_to_keep: L.
        rewards: [B], those of one group; advantages are their standard scores.
        beta, epsilon: weight of the KL divergence and how far ratios may be from one.

    Raises ValueError for a single completion, which has no group to be compared with.
    """
    batch = logps.shape[0]
    if batch < 2:
        raise ValueError(f"expected a group of at least 2 completions, got {batch}")
    groups = rewards.view(-1, batch)
    advantages = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-8)
    advantages = advantages.view(-1, 1)
    difference = ref_logps - logps
    kl = torch.exp(difference) - difference - 1
    ratio = torch.exp(logps - old_logps)
    gain = torch.minimum(advantages * ratio, advantages * ratio.clamp(1 - epsilon, 1 + epsilon))
    mask = pad_mask & torch.ones(1, logits_to_keep, dtype=torch.bool, device=logps.device)
    return ((beta * kl - gain) * mask).sum() / mask.sum()
