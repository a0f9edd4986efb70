"""Memory that several tensors of a launch share."""

from __future__ import annotations

__all__ = ["ALIGNMENT", "Room"]

# Of the tensors, in bytes: what copies of whole lines want.
ALIGNMENT = 256


class Room:
    """Places for tensors by their lives: first and last kernel, in the order of the launch, that needs them.

    Tensors lie over each other where their lives do not meet, each at the lowest byte that is free.
    """

    def __init__(self):
        self.size = 0  # bytes that all of them take
        self._taken: list[tuple[int, int, tuple[int, int]]] = []  # (first byte, byte behind, life)

    def place(self, size: int, life: tuple[int, int]) -> int:
        """The first byte of `size` more."""
        begin, size = 0, -(-size // ALIGNMENT) * ALIGNMENT
        for first, behind, other in sorted(self._taken):
            if other[0] <= life[1] and life[0] <= other[1]:
                if begin + size <= first:
                    break
                begin = max(begin, behind)
        self._taken.append((begin, begin + size, life))
        self.size = max(self.size, begin + size)
        return begin
