"""Compiled programs: compiling them lazily, and running them on tensors."""

from __future__ import annotations

import array
import json
import math
import sys
import threading
from dataclasses import dataclass
from functools import lru_cache

import torch

from .. import _native
from . import devices
from .calls import DTYPES
from .definition import Definition
from .errors import DefinitionError
from .room import Room

__all__ = ["NOTHING", "Program", "Launch", "ask", "compile_program", "gathered", "inner_contiguous", "needs_zeros", "row_of",
           "run_program", "sizes_of"]

_TORCH = {text: dtype for dtype, text in DTYPES.items()}
_LOCK = threading.Lock()
_LOCKS: dict[tuple, threading.Lock] = {}  # of the compilation of each program
ALWAYS = sys.maxsize  # longer than any kernel


@dataclass(frozen=True)
class ArgSpec:
    """A row of a program's manifest."""

    name: str
    role: str
    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    partial: bool = False
    alike: bool = False  # a final state that must not be the initial one
    life: tuple[int, int] = (0, ALWAYS)  # of what the program keeps to itself: first and last kernel that needs it

    @property
    def key(self) -> str:
        """The argument or state that the row belongs to: `d_q` to q, `initial_S` to S."""
        return self.name.removeprefix(_PREFIXES.get(self.role, "")).split("@")[0]


_PREFIXES = {"initial_state": "initial_", "final_state": "final_", "d_input": "d_",
             "d_final_state": "d_final_", "d_initial_state": "d_initial_"}


@dataclass(frozen=True)
class Program:
    """One direction of one form of a definition, for given sizes and dtypes."""

    handle: object
    chunk: int
    args: tuple[ArgSpec, ...]

    def rows(self, role: str) -> list[ArgSpec]:
        """Rows of a role; outputs and their gradients in the order of the step (o0, o1, ...)."""
        rows = [a for a in self.args if a.role == role]
        return sorted(rows, key=lambda a: (len(a.name), a.name)) if role in ("output", "d_output") else rows

    def launcher(self, flat: list[int], sizes: list[int], index: int):
        """Launches on a GPU that differ in addresses alone; `flat` holds a row_of each argument."""
        return _native.native().Launcher(self.handle, flat, sizes, index)


@dataclass(frozen=True)
class Launch:
    """Run-time sizes of one run; offsets are the int64 cu_seqlens, or None.

    indices: int64, which of `states` states each sequence has; None for its own.
    """

    batch: int
    tokens: int
    heads: int
    sequences: int
    offsets: torch.Tensor | None = None
    ends: tuple[int, ...] = ()
    indices: torch.Tensor | None = None
    states: int = 0

    def extents(self, spec: ArgSpec, chunk: int) -> list[int]:
        """Shape of the tensor that a manifest row asks for."""
        lead = {"token": [self.batch, self.tokens, self.heads],
                "param": [self.sequences, self.heads] if spec.role == "d_input" else [self.heads],
                "state": [self.sequences, self.heads],
                "saved": [self.slots(chunk), self.heads]}[spec.kind]
        return [*lead, *spec.shape]

    def slots(self, chunk: int) -> int:
        return (self.batch * self.tokens) // max(chunk, 1) + self.sequences

    def spare_slots(self, chunk: int) -> list[tuple[int, int]]:
        """Ranges of slots that no chunk of a sequence takes."""
        starts = self.ends or [n * self.tokens for n in range(self.sequences + 1)]
        ranges, free = [], 0
        for n, (a, b) in enumerate(zip(starts, starts[1:])):
            first = a // chunk + n
            if free < first:
                ranges.append((free, first))
            free = first + -(-(b - a) // chunk)
        slots = self.slots(chunk)
        return [*ranges, (free, slots)] if free < slots else ranges


def ask(function: str, definition: Definition, options: dict):
    """A question to the compiler about a definition, diagnostics at the user's lines.

    Raises DefinitionError with the compiler's text when it refuses.
    """
    entry, text = getattr(_native.native(), function), json.dumps(options)
    try:
        return entry(definition.text, text)
    except RuntimeError:
        pass
    try:
        return entry(definition.located, text)
    except RuntimeError as error:
        raise DefinitionError(str(error)) from None


def _life(place: int, role: str, kernels) -> tuple[int, int]:
    """First and last kernel, of a program that tells them, that has a row; what callers see lives always."""
    having = [i for i, kernel in enumerate(kernels) if place in kernel["args"]]
    return (having[0], having[-1]) if role == "temp" and having else (0, ALWAYS)


def _manifest(text: str) -> tuple[int, tuple[ArgSpec, ...]]:
    facts = json.loads(text)
    rows = tuple(ArgSpec(a["name"], a["role"], a["kind"], tuple(a["shape"]), _TORCH.get(a["dtype"], torch.float32),
                         bool(a.get("partial")), bool(a.get("alike")), _life(i, a["role"], facts.get("kernels", ())))
                 for i, a in enumerate(facts["args"]))
    return int(facts.get("chunk") or 0), rows


@lru_cache(maxsize=None)
def _compile(definition: Definition, options: str) -> Program:
    handle = ask("compile", definition, json.loads(options))
    return Program(handle, *_manifest(handle.manifest))


def compile_program(definition: Definition, absent: tuple, dims: dict, dtypes: dict, *, form: str, direction: str,
                    states: str, chunk: int, blocks: int = 1, place: devices.Place | None = None) -> Program:
    """The program for these sizes and dtypes, compiled at its first use.

    blocks: parts into which the grid cuts the columns of the state, where the definition allows it.
    place: the GPU that it is for, None for the CPU.
    """
    wide = "f64" if "f64" in dtypes.values() else "f32"
    options = {"target": place.target if place else "cpu", "dims": dims, "dtype": wide, "dtypes": dtypes, "form": form,
               "direction": direction, "states": states}
    if absent:
        options["absent"] = list(absent)
    if chunk:
        options["chunk"] = chunk
    if blocks > 1:
        options["blocks"] = blocks
    if place:
        options["precision"] = place.precision
    key = definition, json.dumps(options, sort_keys=True)
    with _LOCK:
        mine = _LOCKS.setdefault(key, threading.Lock())
    with mine:
        return _compile(*key)


def inner_contiguous(t: torch.Tensor, axes: int) -> torch.Tensor:
    """The tensor with its last `axes` dimensions contiguous; other strides are free."""
    want = 1
    for axis in range(t.dim() - 1, t.dim() - 1 - axes, -1):
        if t.shape[axis] != 1 and t.stride(axis) != want:
            return t.contiguous()
        want *= t.shape[axis]
    return t


def row_of(t: torch.Tensor, spec: ArgSpec) -> tuple[int, int, int, int, int]:
    """(address, batch, token and head strides, heads) of a tensor."""
    strides = t.stride()
    if spec.kind == "token":
        return t.data_ptr(), strides[0], strides[1], strides[2], t.shape[2]
    if spec.kind == "param" and spec.role != "d_input":
        return t.data_ptr(), 0, 0, strides[0], t.shape[0]
    return t.data_ptr(), strides[0], 0, strides[1], t.shape[1]


def needs_zeros(spec: ArgSpec, sparse: bool) -> bool:
    """Whether a caller sees rows of this result that no sequence may reach.

    `sparse`: a call with offsets (rows past the last one) or indices (of skipped sequences).
    """
    return sparse and spec.kind == "token" and spec.role in ("output", "d_input")


def _allocate(spec: ArgSpec, launch: Launch, chunk: int, device: torch.device) -> torch.Tensor:
    """A tensor for a result; what no sequence reaches is zero.

    On a GPU the offsets are not known here, so all of a packed result is zeroed;
    spare slots of what is saved are never read.
    """
    shape = launch.extents(spec, chunk)
    if devices.is_gpu(device) or launch.indices is not None:
        sparse = launch.offsets is not None or launch.indices is not None
        make = torch.zeros if needs_zeros(spec, sparse) else torch.empty
        return make(shape, dtype=spec.dtype, device=device)
    t = torch.empty(shape, dtype=spec.dtype, device=device)
    if spec.kind == "token" and launch.ends and launch.ends[-1] < launch.tokens:
        t[:, launch.ends[-1]:].zero_()
    if spec.role == "saved":
        for a, b in launch.spare_slots(chunk):
            t[a:b].zero_()
    return t


def _temporaries(program: Program, launch: Launch, device: torch.device) -> dict[str, torch.Tensor]:
    """What kernels of a GPU leave for each other, by name: parts of one tensor."""
    room, parts = Room(), []
    for spec in program.rows("temp"):
        shape = launch.extents(spec, program.chunk)
        size = math.prod(shape) * spec.dtype.itemsize
        parts.append((spec, shape, room.place(size, spec.life), size))
    memory = torch.empty(room.size, dtype=torch.uint8, device=device)
    return {spec.name: memory[begin:begin + size].view(spec.dtype).view(shape) for spec, shape, begin, size in parts}


def sizes_of(launch: Launch) -> list[int]:
    """Run-time sizes as the compiler's runtime takes them, with the addresses of offsets and indices."""
    offsets, indices = (0 if t is None else t.data_ptr() for t in (launch.offsets, launch.indices))
    return [launch.batch, launch.tokens, launch.heads, launch.sequences, offsets, indices, launch.states]


class _Values:
    """Where programs read run-time numbers: cells of this process, or of a GPU."""

    def __init__(self, device: torch.device):
        self.index = devices.index_of(device) if devices.is_gpu(device) else None
        self.stream = 0 if self.index is None else devices.stream_of(self.index)
        self.cells: list = []

    def address(self, value: float) -> int:
        if self.index is None:
            cell = array.array("d", [value])
            address = cell.buffer_info()[0]
        else:
            address, cell, _ = devices.value_address(value, self.index, self.stream)
        self.cells.append(cell)
        return address


NOTHING = (0, 0, 0, 0, 1)


def run_program(program: Program, launch: Launch, values: dict, given: dict, device: torch.device,
                skipped: tuple[str, ...] = ()) -> dict[str, dict[str, torch.Tensor]]:
    """Runs a program and returns the tensors that it wrote, by role and key.

    `given` holds tensors by role and key, absent ones left out or None; `values`
    run-time numbers by name; all tensors lie on `device`; roles in `skipped` are
    not wanted. On a GPU this starts the kernels on the current stream.
    """
    written: list[tuple[ArgSpec, torch.Tensor]] = []
    keep, flat, cells = [], [], _Values(device)
    temporaries = {} if cells.index is None else _temporaries(program, launch, device)
    for spec in program.args:
        if spec.kind == "value" and spec.role == "input":
            flat += (cells.address(values[spec.name]), 0, 0, 0, 1)
            continue
        if spec.role in given:
            t = given[spec.role].get(spec.key)
        elif spec.role in skipped:
            t = None
        elif spec.name in temporaries:
            t = temporaries[spec.name]
        else:
            t = _allocate(spec, launch, program.chunk, device)
            written.append((spec, t))
        if t is None:
            flat += NOTHING
            continue
        t = inner_contiguous(t, len(spec.shape))
        keep.append(t)
        flat += row_of(t, spec)
    sizes = sizes_of(launch)
    if cells.index is None:
        _native.native().run(program.handle, flat, sizes, torch.get_num_threads())
    else:
        program.launcher(flat, sizes, cells.index).launch(flat[::5], sizes[4], cells.stream, sizes[5])
    return gathered(written)


def gathered(written: list[tuple[ArgSpec, torch.Tensor]]) -> dict[str, dict[str, torch.Tensor]]:
    """Results by role and key; shares of column blocks and pieces of a gradient are added in order."""
    out: dict[str, dict[str, torch.Tensor]] = {}
    for spec, t in written:
        if spec.partial:
            wide = torch.float64 if t.dtype == torch.float64 else torch.float32
            t = t.sum(t.dim() - len(spec.shape), dtype=wide)
        of_role = out.setdefault(spec.role, {})
        of_role[spec.key] = of_role[spec.key] + t if spec.key in of_role else t
    return out
