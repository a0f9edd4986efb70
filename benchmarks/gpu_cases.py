"""Cases of a definition with their exact results, for gpu_accuracy.py.

Inputs go to a device and results come back in one copy each: many processes share the
GPU by turns, and each copy waits for one.
"""

from __future__ import annotations

from collections import defaultdict

import definitions
import torch

__all__ = ["ExactCase", "errors_of", "fetch", "put", "put_all"]

DRAWS = 4
_ALIGNED = 256  # bytes, as an allocation of its own would be


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| / (|b| + 1e-6 sqrt(n)); equal infinities are equal."""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    if b.numel() == 0:
        return 0.0 if a.shape == b.shape else float("inf")
    same = (a == b) & b.isinf()
    a, b = a.masked_fill(same, 0), b.masked_fill(same, 0)
    error = float((a - b).norm() / (b.norm() + 1e-6 * b.numel() ** 0.5))
    return error if error < 1e30 else 1e30  # NaN, too


def errors_of(got: dict, want: dict) -> dict[str, float]:
    return {n: relative_error(got[n], want[n]) for n in want}


def _stored(call: definitions.Call, definition, dtype: torch.dtype) -> definitions.Call:
    """The call in a storage type; parameters of heads and states stay float32."""
    params = {a.name for a in definition.arguments if a.kind == "param"}
    tensors = {n: x.to(torch.float32 if n in params else dtype) for n, x in call.tensors.items()}
    return definitions.Call(tensors, call.values, tuple(x.float() for x in call.initial), call.offsets)


def _changed(call: definitions.Call, change) -> definitions.Call:
    """The call with change(name, tensor) for each tensor, which become leaves; states have no name."""
    leaf = lambda name, x: change(name, x.detach()).requires_grad_()  # noqa: E731
    return definitions.Call({n: leaf(n, x) for n, x in call.tensors.items()}, call.values,
                            tuple(leaf("", x) for x in call.initial), call.offsets)


def _exact(call: definitions.Call) -> definitions.Call:
    return _changed(call, lambda _, x: x.double().clone())


def put(call: definitions.Call, device: str) -> definitions.Call:
    """The call on a device, by one copy. What lies between the tensors is NaN."""
    tensors = [*call.tensors.values(), *call.initial]
    starts, size = [], 0
    for x in tensors:
        starts.append(size)
        size += -(-x.numel() * x.element_size() // _ALIGNED) * _ALIGNED
    packed = torch.full((size,), 0xff, dtype=torch.uint8)
    for start, x in zip(starts, tensors):
        packed[start:start + x.numel() * x.element_size()] = x.detach().contiguous().reshape(-1).view(torch.uint8)
    packed = packed.to(device)
    places = iter(starts)

    def place(_, x):
        start = next(places)
        return packed[start:start + x.numel() * x.element_size()].view(x.dtype).view(x.shape)

    return _changed(call, place)


def put_all(tensors, device: str) -> list[torch.Tensor]:
    """The same of tensors alone."""
    return [x.detach() for x in put(definitions.Call({}, {}, tuple(tensors)), device).initial]


def fetch(tensors: dict) -> dict:
    """Tensors on the CPU, by one copy; float32 holds what the shorter types do."""
    flat = torch.cat([x.detach().reshape(-1).float() for x in tensors.values()]).cpu()
    pieces = flat.split([x.numel() for x in tensors.values()])
    return {n: piece.view(x.shape) for (n, x), piece in zip(tensors.items(), pieces)}


def _moved(call: definitions.Call, definition, unit: float, r: torch.Generator) -> definitions.Call:
    """The call with what goes into products moved by up to `unit` of itself.

    Log gates and parameters stay: they are added up and exponentiated in f32, whatever products take.
    """
    fixed = {a.name for a in definition.arguments if a.kind == "param" or a.attrs.get("max") == 0.0}
    return _changed(call, lambda n, x: x.clone() if n in fixed else _jittered(x, unit, r))


def _jittered(x: torch.Tensor, unit: float, r: torch.Generator) -> torch.Tensor:
    return x * (1 + unit * (2 * torch.rand(x.shape, generator=r, dtype=x.dtype) - 1))


class ExactCase:
    """Inputs of a case, and exact results when they are first asked for."""

    def __init__(self, op, stem: str, case: definitions.Case, width: int, dtype: torch.dtype):
        self.op, self.definition, self.case = op, op.definition(), case
        self.states = [s.name for s in self.definition.states]
        self.outputs = [f"output {i}" for i in range(len(self.definition.outputs))]
        self.stored = _stored(definitions.draw(stem, case, width), self.definition, dtype)
        self.exact = _exact(self.stored)
        self.forward = self.run_exactly(self.exact)
        r = torch.Generator().manual_seed(1)
        self.seeds = [torch.randn(x.shape, generator=r, dtype=torch.float64).to(dtype if n in self.outputs else torch.float32)
                      for n, x in self.forward.items()]
        self._backward: dict | None = None
        self._moves: dict = {}

    @property
    def backward(self) -> dict:
        if self._backward is None:
            self._backward = self.gradients_exactly(self.exact, self.seeds)
        return self._backward

    def named(self, results) -> dict:
        return dict(zip([*self.outputs, *(f"final {s}" for s in self.states)], results))

    def run_exactly(self, call: definitions.Call) -> dict:
        with torch.no_grad():
            return self.named(definitions.run(self.op, call, form="recurrent"))

    def gradients_exactly(self, call: definitions.Call, seeds) -> dict:
        return self.gradients(definitions.run(self.op, call), call, seeds)

    def gradients(self, results, call: definitions.Call, seeds) -> dict:
        names = [*call.tensors, *(f"initial {name}" for name, _ in zip(self.states, call.initial))]
        leaves = [*call.tensors.values(), *call.initial]
        used = [(x, w.to(x)) for x, w in zip(results, seeds) if x.requires_grad]
        found = torch.autograd.grad([x for x, _ in used], leaves, [w for _, w in used], allow_unused=True)
        return {n: g if g is not None else torch.zeros_like(x) for n, g, x in zip(names, found, leaves)}

    def moves(self, direction: str, unit: float) -> dict:
        """What a rounding of the inputs changes in the exact results: the root mean square of a few draws."""
        if (direction, unit) not in self._moves:
            squares, r = defaultdict(float), torch.Generator().manual_seed(7)
            for _ in range(DRAWS):
                call = _moved(self.exact, self.definition, unit, r)
                seeds = [_jittered(w.double(), unit, r) for w in self.seeds]
                got = self.run_exactly(call) if direction == "forward" else self.gradients_exactly(call, seeds)
                for n, error in errors_of(got, self.forward if direction == "forward" else self.backward).items():
                    squares[n] += error**2 / DRAWS
            self._moves[direction, unit] = {n: square**0.5 for n, square in squares.items()}
        return self._moves[direction, unit]
