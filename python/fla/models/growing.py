"""Tensors that grow along time, at the end, without a copy of what they had.

A room has more tokens than are written. Tokens that are written never change, so every
tensor that shows the first of them stays what it was, and so does what autograd keeps of it:
a hundred steps of decoding keep one room, not a hundred copies.
"""

from __future__ import annotations

import torch

__all__ = ["Room", "append"]


class Room:
    """Memory for a tensor [B, T, ...] that grows along T; `filled` of its tokens are written."""

    def __init__(self, old: torch.Tensor, tokens: int):
        self.memory = old.new_empty((old.shape[0], tokens + tokens // 2 + 32, *old.shape[2:]))
        self.filled = old.shape[1]
        self.memory[:, :self.filled] = old

    def fits(self, old: torch.Tensor, new: torch.Tensor) -> bool:
        """Whether `old` shows all that is written, and `new` has its place behind it."""
        known = (old.untyped_storage().data_ptr(), old.storage_offset(), old.dtype, old.stride())
        mine = (self.memory.untyped_storage().data_ptr(), self.memory.storage_offset(), self.memory.dtype,
                self.memory.stride())
        return known == mine and old.shape == (old.shape[0], self.filled, *self.memory.shape[2:]) \
            and old.shape[0] == self.memory.shape[0] and self.filled + new.shape[1] <= self.memory.shape[1] \
            and self.memory.is_inference() == torch.is_inference_mode_enabled()

    def put(self, new: torch.Tensor) -> torch.Tensor:
        """Writes tokens behind the others and returns all: its own tensor, which no later writing marks as changed."""
        start, self.filled = self.filled, self.filled + new.shape[1]
        self.memory[:, start:self.filled] = new
        size = (self.memory.shape[0], self.filled, *self.memory.shape[2:])
        return self.memory.new_empty(0).set_(self.memory.untyped_storage(), self.memory.storage_offset(), size,
                                             self.memory.stride())


class _Append(torch.autograd.Function):
    @staticmethod
    def forward(ctx, old, new, room):
        ctx.tokens = old.shape[1]
        return room.put(new)

    @staticmethod
    def backward(ctx, d):
        return d[:, :ctx.tokens], d[:, ctx.tokens:], None


def append(room: Room | None, old: torch.Tensor, new: torch.Tensor) -> tuple[Room | None, torch.Tensor]:
    """(room, torch.cat((old, new), 1)), with the room to give next time; None where there is nothing but a copy."""
    plain = type(old) in (torch.Tensor, torch.nn.Parameter) and (old.dtype, old.device) == (new.dtype, new.device) \
        and (old.shape[0], *old.shape[2:]) == (new.shape[0], *new.shape[2:])
    if torch.compiler.is_compiling() or not plain:
        return None, torch.cat((old, new), 1)
    if room is None or not room.fits(old, new):
        with torch.no_grad():
            room = Room(old, old.shape[1] + new.shape[1])
    return room, _Append.apply(old, new, room)
