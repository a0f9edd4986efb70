"""Accuracy of the library's definitions on a device against float64 on the CPU: a part of gpu.py.

The reference runs the recurrence token by token (``form="recurrent"``) in float64 on
the inputs as rounded; its gradients come from the float64 chunk form, which fla-check
holds against the tape of the token loop to 1e-10. A result whose error exceeds the usual
tolerance may still be as good as its inputs: twice what one more rounding of them changes
in the exact result is allowed, and the row says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import definitions
import torch
from fla.lang import load

__all__ = ["Task", "Row", "chosen_tasks", "accuracy", "summarise"]

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "tf32": torch.float32, "f32": torch.float32}
FORWARD = {"bf16": 5e-3, "f16": 1.5e-3, "tf32": 1.5e-3, "f32": 1e-5}
GRADIENT = {"bf16": 1e-2, "f16": 3e-3, "tf32": 3e-3, "f32": 3e-5}
ALIKE = {"bf16": (1e-2, 2e-2)}  # keys with cosines of 0.9
UNIT = {"bf16": 2.0**-8, "f16": 2.0**-11, "tf32": 2.0**-11, "f32": 2.0**-24}  # half a unit in the last place of 1
_TURNED = "turning all keys and queries by one angle changes little: what is left of the sum over tokens is rounding"
KNOWN = {("mamba3", "initial theta"): (20, _TURNED), ("mamba3", "angles"): (10, _TURNED)}  # in units, with the reason


@dataclass(frozen=True)
class Task:
    """One definition, type and width; its cases share what is compiled."""

    definition: str
    dtype: str
    width: int
    device: str = "cuda"


@dataclass
class Row:
    """The largest relative error of one case in one direction."""

    definition: str
    dtype: str
    width: int
    case: str
    direction: str
    error: float
    tolerance: float
    worst: str = ""
    reason: str = ""  # for another tolerance than the usual one, or for no result


def chosen_tasks(stems, dtypes, widths, device: str) -> list[Task]:
    """Every definition at the first width in all types, then the other widths in the first type, then the rest."""
    first = [Task(s, t, widths[0], device) for t in dtypes for s in stems]
    second = [Task(s, dtypes[0], w, device) for w in widths[1:] for s in stems]
    rest = [Task(s, t, w, device) for t in reversed(dtypes[1:]) for w in widths[1:] for s in stems]
    return first + second + rest


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a - b| / (|b| + 1e-6 sqrt(n)); equal infinities are equal."""
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    if b.numel() == 0:
        return 0.0 if a.shape == b.shape else float("inf")
    same = (a == b) & b.isinf()
    a, b = a.masked_fill(same, 0), b.masked_fill(same, 0)
    error = float((a - b).norm() / (b.norm() + 1e-6 * b.numel() ** 0.5))
    return error if error < 1e30 else 1e30  # NaN, too


def _stored(call: definitions.Call, definition, dtype: torch.dtype) -> definitions.Call:
    """The call in a storage type; parameters of heads and states stay float32."""
    params = {a.name for a in definition.arguments if a.kind == "param"}
    tensors = {n: x.to(torch.float32 if n in params else dtype) for n, x in call.tensors.items()}
    return definitions.Call(tensors, call.values, tuple(x.float() for x in call.initial), call.offsets)


def _on(call: definitions.Call, device: str, dtype: torch.dtype | None) -> definitions.Call:
    """Leaves on a device, in another type if one is given."""
    move = lambda x: x.detach().to(device=device, dtype=dtype or x.dtype).clone().requires_grad_()  # noqa: E731
    return definitions.Call({n: move(x) for n, x in call.tensors.items()}, call.values, tuple(move(x) for x in call.initial),
                            call.offsets)


def _weights(shapes, dtypes, seed: int = 1) -> list[torch.Tensor]:
    r = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=r, dtype=torch.float64).to(d) for s, d in zip(shapes, dtypes)]


def _gradients(results, call: definitions.Call, weights, states) -> dict[str, torch.Tensor]:
    leaves = [*call.tensors.values(), *call.initial]
    names = [*call.tensors, *(f"initial {name}" for name, _ in zip(states, call.initial))]
    seeds = [(x, w.to(x)) for x, w in zip(results, weights) if x.requires_grad]
    found = torch.autograd.grad([x for x, _ in seeds], leaves, [w for _, w in seeds], allow_unused=True)
    return {n: g if g is not None else torch.zeros_like(x) for n, g, x in zip(names, found, leaves)}


def _errors(got: dict, want: dict) -> dict[str, float]:
    return {n: relative_error(got[n], want[n]) for n in want}


def _moved(call: definitions.Call, unit: float) -> definitions.Call:
    """The call with every number moved by up to `unit` of itself."""
    r = torch.Generator().manual_seed(7)
    move = lambda x: (x.detach() * (1 + unit * (2 * torch.rand(x.shape, generator=r, dtype=x.dtype) - 1))).requires_grad_()  # noqa: E731
    return definitions.Call({n: move(x) for n, x in call.tensors.items()}, call.values, tuple(move(x) for x in call.initial),
                            call.offsets)


class _Trial:
    """One case of a task: results, and what they may differ by."""

    def __init__(self, task: Task, op, case: definitions.Case):
        self.task, self.op, self.case = task, op, case
        definition = op.definition()
        self.states = [s.name for s in definition.states]
        self.names = [f"output {i}" for i in range(len(definition.outputs))] + [f"final {s}" for s in self.states]
        stored = _stored(definitions.draw(task.definition, case, task.width), definition, DTYPES[task.dtype])
        self.exact, self.call = _on(stored, "cpu", torch.float64), _on(stored, task.device, None)

    def outputs(self, call: definitions.Call) -> dict:
        with torch.no_grad():
            return dict(zip(self.names, definitions.run(self.op, call, form="recurrent")))

    def gradients(self, call: definitions.Call) -> dict:
        return _gradients(definitions.run(self.op, call), call, self.weights, self.states)

    def row(self, direction: str, error: float, tolerance: float, worst: str, reason: str = "") -> Row:
        t = self.task
        return Row(t.definition, t.dtype, t.width, self.case.name, direction, error, tolerance, worst, reason)

    def judge(self, direction: str, got: dict, want: dict, function) -> Row:
        """The result that is closest to what it may be, or beyond; `function` computes exact results of a call."""
        task, errors = self.task, _errors(got, want)
        usual = (FORWARD if direction == "forward" else GRADIENT)[task.dtype]
        if self.case.correlated and task.dtype in ALIKE:
            usual = ALIKE[task.dtype][direction != "forward"]
        worst = max(errors, key=errors.get)
        if errors[worst] <= usual:
            return self.row(direction, errors[worst], usual, worst)
        moved = _errors(function(_moved(self.exact, UNIT[task.dtype])), want)
        allowed = {n: (max(usual, 2 * moved[n]), "ill-conditioned inputs" if 2 * moved[n] > usual else "") for n in errors}
        for n in errors:
            units, reason = KNOWN.get((task.definition, n), (0, ""))
            allowed[n] = max(allowed[n], (units * UNIT[task.dtype], reason))
        worst = max(errors, key=lambda n: errors[n] / allowed[n][0])
        return self.row(direction, errors[worst], allowed[worst][0], worst, allowed[worst][1])

    def forward(self) -> Row:
        results = definitions.run(self.op, self.call)
        self.results, self.weights = results, _weights([x.shape for x in results], [x.dtype for x in results])
        return self.judge("forward", dict(zip(self.names, results)), self.outputs(self.exact), self.outputs)

    def backward(self) -> Row:
        got = _gradients(self.results, self.call, self.weights, self.states)
        return self.judge("backward", got, self.gradients(self.exact), self.gradients)


def _one(task: Task, op, case: definitions.Case) -> list[Row]:
    """Rows of a case. What fails is a row, too; after a fault of the device the rest of the task is given up."""
    rows: list[Row] = []
    try:
        trial = _Trial(task, op, case)
        rows.append(trial.forward())
        rows.append(trial.backward())
    except Exception as error:
        if "CUDA" in str(error):
            raise
        direction = "backward" if rows else "forward"
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        rows.append(Row(task.definition, task.dtype, task.width, case.name, direction, 1e30, 0.0, "no result", text))
    return rows


def accuracy(task: Task) -> list[dict]:
    """Rows of all cases of a task."""
    torch.set_float32_matmul_precision("high" if task.dtype == "tf32" else "highest")
    op = load(task.definition)
    rows = []
    for case in definitions.cases(op.definition()):
        rows += _one(task, op, case)
    return [asdict(r) for r in rows]


def summarise(rows: list[dict], problems: dict, stems, dtypes) -> list[str]:
    """One line a definition: the largest error of each type, forward and gradients, `!` where one exceeds its tolerance."""
    lines = [f"{'definition':<25}" + "".join(f"{t:>11}{'grad':>10}" for t in dtypes) + "   widths"]
    for stem in stems:
        line = f"{stem:<25}"
        for dtype in dtypes:
            for direction, width in (("forward", 11), ("backward", 10)):
                own = [r for r in rows if (r["definition"], r["dtype"], r["direction"]) == (stem, dtype, direction)]
                text = f"{max(r['error'] for r in own):.1e}" if own else "-"
                failed = any(not r["error"] <= r["tolerance"] for r in own) or any(k[:2] == (stem, dtype) for k in problems)
                line += f"{text + ('!' if failed else ' '):>{width}}"
        widths = sorted({r["width"] for r in rows if r["definition"] == stem})
        lines.append(line + "   " + " ".join(map(str, widths)))
    return lines
