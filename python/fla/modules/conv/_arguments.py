"""What the functions of short convolutions accept, checked in one place."""

from __future__ import annotations

import torch

__all__ = ["check_activation", "check_weight", "flat", "state_of_width"]


def check_activation(activation: str | None) -> None:
    """Raises ValueError unless the activation is silu, swish or None."""
    if activation not in (None, "silu", "swish"):
        raise ValueError(f"expected an activation among silu, swish and None, got {activation!r}")


def check_weight(weight: torch.Tensor | None, bias: torch.Tensor | None) -> None:
    """Raises ValueError unless there is a weight [D, W] and, if any, a bias [D]."""
    if weight is None or weight.dim() != 2:
        raise ValueError(f"expected a weight of shape [D, W], got {None if weight is None else tuple(weight.shape)}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"expected a bias of shape {tuple(weight.shape[:1])}, got {tuple(bias.shape)}")


def flat(x: torch.Tensor, width: int) -> torch.Tensor:
    """``x [B, T, ...]`` as [B, T, D], heads and their channels together. Raises ValueError unless they make D."""
    y = x if x.dim() == 3 else x.flatten(2)
    if x.dim() < 3 or y.shape[-1] != width:
        raise ValueError(f"expected x of shape [B, T, {width}], the channels of the weight, got {tuple(x.shape)}")
    return y


def state_of_width(state: torch.Tensor, sequences: int, channels: int, width: int) -> torch.Tensor:
    """A state [N, D, W] of inputs before the first, from one of at least W-1 columns; missing ones are zero.

    Raises ValueError for another shape.
    """
    if state.dim() != 3 or state.shape[:2] != (sequences, channels) or state.shape[2] < width - 1:
        raise ValueError(f"expected a state of shape [{sequences}, {channels}, {width}], got {tuple(state.shape)}")
    missing = width - state.shape[2]
    return torch.nn.functional.pad(state, (missing, 0)) if missing else state
