"""Sequences packed one after another along the time dimension of a single batch row.

``cu_seqlens [N+1]`` holds their boundaries: sequence n is the rows cu_seqlens[n] up to
cu_seqlens[n+1]. Sequences of no row and of one row are normal. Rows past the last boundary
count as one more sequence, so that whatever is there is defined and reaches no other.
"""

from __future__ import annotations

import torch

__all__ = ["Packed", "check_packed", "sequence_of_rows"]

_INTEGERS = (torch.int32, torch.int64)


def check_packed(x: torch.Tensor, cu_seqlens: torch.Tensor) -> None:
    """Raises ValueError unless ``cu_seqlens`` fits ``x [1, T, ...]``.

    The boundaries themselves are looked at on a CPU only: reading them from a GPU would
    make the program wait for it.
    """
    if x.shape[0] != 1:
        raise ValueError(f"expected a batch size of 1 when cu_seqlens is given, got {x.shape[0]}")
    if cu_seqlens.dim() != 1 or cu_seqlens.shape[0] < 1 or cu_seqlens.dtype not in _INTEGERS:
        raise ValueError(f"expected cu_seqlens of shape (N+1,) in int32 or int64, got {tuple(cu_seqlens.shape)} "
                         f"in {cu_seqlens.dtype}")
    if cu_seqlens.device.type == "cpu" and not torch.compiler.is_compiling():
        bounds = cu_seqlens.tolist()
        if bounds[0] != 0 or bounds != sorted(bounds) or bounds[-1] > x.shape[1]:
            raise ValueError(f"expected cu_seqlens to go from 0 up to at most T={x.shape[1]}, got {bounds}")


def sequence_of_rows(cu_seqlens: torch.Tensor, rows: int) -> torch.Tensor:
    """The number of the sequence that each of ``rows`` rows belongs to: [rows], N past the last boundary."""
    places = torch.arange(rows, device=cu_seqlens.device, dtype=cu_seqlens.dtype)
    return torch.searchsorted(cu_seqlens, places, right=True) - 1


class Packed:
    """Packed sequences with ``room`` rows before each of them, for what came earlier.

    Worked example, two sequences a b c | d with room 2 (boundaries 0 3 4): the rows become
    . . a b c . . d . . , the last room being that of the rows past the last boundary. A
    window of up to ``room`` rows back from a token then stays within its own sequence.
    """

    def __init__(self, cu_seqlens: torch.Tensor, rows: int, room: int):
        self.sequences = cu_seqlens.shape[0] - 1
        self.rows = rows + (self.sequences + 1) * room
        bounds = cu_seqlens.long()
        order = torch.arange(self.sequences, device=bounds.device)
        inside = torch.arange(room, device=bounds.device)
        # The rows that token t, the room of sequence n and the last `room` rows of it now have.
        self.tokens = torch.arange(rows, device=bounds.device) + (sequence_of_rows(bounds, rows) + 1) * room
        self.rooms = ((bounds[:-1] + order * room)[:, None] + inside).flatten()
        self.ends = ((bounds[1:] + order * room)[:, None] + inside).flatten()

    def spread(self, x: torch.Tensor, earlier: torch.Tensor | None) -> torch.Tensor:
        """``x [1, T, D]`` and ``earlier [N, room, D]``, zeros for None, as [1, rows, D]."""
        spread = x.new_zeros(self.rows, x.shape[-1]).index_copy(0, self.tokens, x[0])
        if earlier is not None:
            spread = spread.index_copy(0, self.rooms, earlier.to(x.dtype).flatten(0, 1))
        return spread[None]

    def gather(self, spread: torch.Tensor) -> torch.Tensor:
        """The tokens' rows of ``spread [1, rows, D]``: [1, T, D]."""
        return spread[:, self.tokens]

    def last(self, spread: torch.Tensor) -> torch.Tensor:
        """The last ``room`` rows of every sequence, its room included: [N, room, D]."""
        return spread[0, self.ends].unflatten(0, (self.sequences, -1))
