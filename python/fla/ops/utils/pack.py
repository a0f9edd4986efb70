"""From padded batches to packed sequences and back."""

from __future__ import annotations

import torch

__all__ = ["pack_sequence", "unpack_sequence"]


def _rows(cu_seqlens: torch.Tensor, length: int, padding_side: str) -> torch.Tensor:
    """The index of each packed token in a batch of rows of `length` tokens, flattened."""
    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side: expected 'left' or 'right', got {padding_side!r}")
    offsets = cu_seqlens.long()
    lens = offsets.diff()
    row = torch.repeat_interleave(torch.arange(lens.shape[0], device=lens.device), lens)
    start = length - lens if padding_side == "left" else torch.zeros_like(lens)
    return torch.arange(row.shape[0], device=lens.device) + (row * length + start[row] - offsets[row])


def pack_sequence(x: torch.Tensor, cu_seqlens: torch.Tensor, padding_side: str = "left") -> torch.Tensor:
    """The tokens of x [B, S, ...] without the padding: [cu_seqlens[-1], ...]; differentiable.

    Row i has cu_seqlens[i + 1] - cu_seqlens[i] tokens. Raises ValueError for another padding_side.
    """
    return x.flatten(0, 1)[_rows(cu_seqlens, x.shape[1], padding_side)]


def unpack_sequence(x: torch.Tensor, cu_seqlens: torch.Tensor, padding_side: str = "left",
                    desired_shape: tuple | None = None) -> torch.Tensor:
    """Packed tokens x [T, ...] as rows [B, S, ...] padded with zeros; differentiable.

    S is desired_shape[1] or, without it, the longest sequence. Raises ValueError for
    another padding_side or a shape that does not go with x.
    """
    batch = cu_seqlens.shape[0] - 1
    if desired_shape is not None and (desired_shape[0] != batch or tuple(desired_shape[2:]) != tuple(x.shape[1:])):
        raise ValueError(f"unpack_sequence: desired_shape: expected [{batch}, S, *{list(x.shape[1:])}], "
                         f"got {list(desired_shape)}")
    length = int(cu_seqlens.diff().max()) if desired_shape is None else desired_shape[1]
    rows = _rows(cu_seqlens, length, padding_side)
    out = x.new_zeros(batch * length, *x.shape[1:]).index_copy(0, rows, x[:rows.shape[0]])
    return out.unflatten(0, (batch, length))
