"""A launch on a GPU with its addresses left open: what it reads and what is made for it.

A Layout is filled row by row in the order of the program's manifest; of it comes a
Prepared, which finds the addresses, allocates and starts all kernels in one native call.
"""

from __future__ import annotations

import functools

import torch

from .. import _native
from . import devices
from .programs import NOTHING, Launch, Program, row_of, sizes_of
from .room import Room

__all__ = ["Layout", "Prepared"]

_current_device = getattr(torch._C, "_cuda_getDevice", None)
_empty_on_current = getattr(getattr(torch._C, "_dynamo", None) and torch._C._dynamo.guards, "_empty_strided_cuda", None)


class Layout:
    """The rows of a launch, and where the address of each comes from."""

    def __init__(self, program: Program, launch: Launch, device: torch.device):
        self.program, self.sizes, self.device = program, launch, device
        self.flat: list[int] = []
        self.sources: list[tuple[int, int, int]] = []  # (row, tensor of the call, byte)
        self.values: list[tuple[int, float]] = []  # (row, number)
        self.made: list[tuple] = []  # (function, its arguments, [(row, byte)])
        self._shared: dict[str, tuple[int, Room]] = {}  # what rows share a tensor: its index in made, and its room
        self.quick = _empty_on_current is not None and device.type == "cuda"
        self._empty = _empty_on_current if self.quick else functools.partial(_empty, device)

    @property
    def row(self) -> int:
        """The row that comes next."""
        return len(self.flat) // len(NOTHING)

    def leave_out(self) -> None:
        """A row that the call does not have."""
        self.flat += NOTHING

    def number(self, value: float) -> None:
        """A run-time value."""
        self.values.append((self.row, value))
        self.flat += NOTHING

    def read(self, spec, t: torch.Tensor, position: int, byte: int = 0) -> None:
        """A tensor like `t`, which lies at this byte of the call's tensor of that position."""
        self.sources.append((self.row, position, byte))
        self.flat += row_of(t, spec)

    def make(self, spec, zeros: bool = False) -> int:
        """A dense tensor of its own; its index among what is made."""
        t = self.like(spec)
        shape, strides = tuple(t.shape), t.stride()
        make = (functools.partial(_zeros, self.device), (shape, spec.dtype)) if zeros else (self._empty, (shape, strides, spec.dtype))
        self.made.append((*make, [(self.row, 0)]))
        self.flat += row_of(t, spec)
        return len(self.made) - 1

    def share(self, spec, name: str) -> tuple[int, int]:
        """A part of the uninitialised tensor of this name, which grows: (its index among what is made, byte)."""
        t = self.like(spec)
        if name not in self._shared:
            self._shared[name] = len(self.made), Room()
            self.made.append((self._empty, ((0,), (1,), torch.uint8), []))
        index, room = self._shared[name]
        begin = room.place(t.numel() * t.element_size(), spec.life)
        make, (_, strides, dtype), parts = self.made[index]
        parts.append((self.row, begin))
        self.made[index] = make, ((room.size,), strides, dtype), parts
        self.flat += row_of(t, spec)
        return index, begin

    def like(self, spec) -> torch.Tensor:
        """Of the shape, strides and dtype that a row's own tensor has."""
        return torch.empty(self.sizes.extents(spec, self.program.chunk), dtype=spec.dtype, device="meta")


def _empty(device: torch.device, shape, strides, dtype) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=device)


def _zeros(device: torch.device, shape, dtype) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype, device=device)


class Prepared:
    """Launches of one program that differ in addresses and stream alone.

    kept: what a launch gives of the tensors that it makes, as indices.
    offsets, indices: the call's tensors that hold them, None without.
    """

    __slots__ = ("index", "offsets", "indices", "_native", "_values", "_numbers", "_quick")

    def __init__(self, layout: Layout, index: int, kept, offsets: int | None = None, indices: int | None = None):
        self.index, self.offsets, self.indices, self._quick = index, offsets, indices, layout.quick
        launcher = layout.program.launcher(layout.flat, sizes_of(layout.sizes), index)
        self._native = _native.native().Prepared(launcher, layout.sources, [row for row, _ in layout.values], layout.made,
                                                 list(kept))
        self._values = [value for _, value in layout.values]
        self._numbers: dict[int, tuple[int, ...]] = {}  # addresses that hold for good, by stream

    def start(self, tensors) -> tuple[torch.Tensor, ...]:
        """Starts the kernels on the current stream of the device; of the tensors made for them those that are kept."""
        # The quick way to allocate has no device of its own.
        if self._quick and _current_device() != self.index:
            with torch.cuda.device(self.index):
                return self._start(tensors)
        return self._start(tensors)

    def _start(self, tensors) -> tuple[torch.Tensor, ...]:
        stream = devices.stream_of(self.index)
        numbers, held = self._numbers.get(stream), None
        if numbers is None:
            numbers, held = self._place_numbers(stream)
        if self.offsets is None and self.indices is None:
            return self._native.launch(tensors, numbers, 0, stream, 0)
        offsets, indices = (None if i is None else tensors[i].to(torch.int64).contiguous() for i in (self.offsets, self.indices))
        return self._native.launch(tensors, numbers, _address(offsets), stream, _address(indices))

    def _place_numbers(self, stream: int) -> tuple[tuple[int, ...], list]:
        """(addresses of the run-time values, tensors to keep until the launch)."""
        placed = [devices.value_address(value, self.index, stream) for value in self._values]
        numbers = tuple(address for address, _, _ in placed)
        if all(kept for _, _, kept in placed) and len(self._numbers) < 64:
            self._numbers[stream] = numbers
        return numbers, [cell for _, cell, _ in placed]


def _address(t: torch.Tensor | None) -> int:
    return 0 if t is None else t.data_ptr()
