"""Accuracy of the library's definitions on a device against float64 on the CPU: a part of gpu.py.

The reference runs the recurrence token by token (``form="recurrent"``) in float64 on
the inputs as rounded; its gradients come from the float64 chunk form, which fla-check
holds against the tape of the token loop to 1e-10. A result whose error exceeds the usual
tolerance may still be as good as its inputs: twice what one rounding of them changes in
the exact result is allowed, and the row lists it (docs/Rationale/ill-conditioned-inputs.md).

A task's cases share what is compiled, and precisions of one storage type (f32 and tf32)
the inputs and references.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import definitions
import torch
from fla.lang import load
from gpu_cases import ExactCase, errors_of, fetch, put, put_all

__all__ = ["Task", "Row", "chosen_tasks", "next_task", "accuracy", "summarise", "allowances"]

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "tf32": torch.float32, "f32": torch.float32}
FORWARD = {"bf16": 5e-3, "f16": 1.5e-3, "tf32": 1.5e-3, "f32": 1e-5}
GRADIENT = {"bf16": 1e-2, "f16": 3e-3, "tf32": 3e-3, "f32": 3e-5}
ALIKE = {"bf16": (1e-2, 2e-2)}  # keys with cosines of 0.9
UNIT = {"bf16": 2.0**-8, "f16": 2.0**-11, "tf32": 2.0**-11, "f32": 2.0**-24}  # half a unit in the last place of 1
ROUNDINGS = 2  # of its inputs, that an exact program may be wrong by
LOST = 0.1  # an allowance above this leaves hardly a digit
_TURNED = "turning all keys and queries by one angle changes little: what is left of the sum over tokens is rounding"
KNOWN = {("mamba3", "initial theta"): (20, _TURNED), ("mamba3", "angles"): (10, _TURNED)}  # in units, with the reason


@dataclass(frozen=True)
class Task:
    """One definition, storage type (in one or more precisions) and width."""

    definition: str
    dtypes: tuple[str, ...]
    width: int
    device: str = "cuda"


@dataclass
class Row:
    """The result of one case in one direction that is closest to its tolerance, or furthest beyond."""

    definition: str
    dtype: str
    width: int
    case: str
    direction: str
    error: float
    tolerance: float
    worst: str = ""
    reason: str = ""  # for another tolerance than the usual one, or for no result
    beyond: list = field(default_factory=list)  # (result, error, allowance, reason) above the usual tolerance


#===----------------------------------------------------------------------===#
# Which tasks, in which order
#===----------------------------------------------------------------------===#


def chosen_tasks(stems, dtypes, widths, device: str) -> list[Task]:
    """Storage types in their order; of each every definition at the first width, then at the others."""
    groups: dict[torch.dtype, list[str]] = defaultdict(list)
    for dtype in dtypes:
        groups[DTYPES[dtype]].append(dtype)
    return [Task(s, tuple(group), w, device) for group in groups.values() for w in widths for s in stems]


def next_task(todo: list[Task], done: list) -> int:
    """Of the first storage type left what will take longest, as far as other tasks of its definition tell.

    Two that compile the same references seldom run at once, and the last tasks are short ones.
    """
    pace = {task.definition: sum(result["seconds"].values()) / task.width for task, result, _ in done if result}
    same = [i for i, task in enumerate(todo) if task.dtypes == todo[0].dtypes]
    return max(same, key=lambda i: pace.get(todo[i].definition, float("inf")) * todo[i].width)


#===----------------------------------------------------------------------===#
# Tasks
#===----------------------------------------------------------------------===#


class _Trial:
    """What one task finds, and where its time goes."""

    def __init__(self, task: Task):
        self.task, self.rows, self.seconds = task, [], defaultdict(float)

    @contextmanager
    def part(self, name: str):
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - begin

    def on_device(self, case: ExactCase, dtype: str) -> tuple[dict, dict, str]:
        """Outputs, gradients, and why there are none if there are none."""
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        call, results, found, problem = put(case.stored, self.task.device), {}, {}, ""
        try:
            results = definitions.run(case.op, call)
            found = case.gradients(results, call, put_all(case.seeds, self.task.device))
        except Exception as error:
            if "CUDA" in str(error):  # a fault of the device: the rest of the task is given up
                raise
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
        results = case.named(results)
        both = fetch({**results, **{f"d {n}": g for n, g in found.items()}}) if results else {}
        return {n: both[n] for n in results}, {n: both[f"d {n}"] for n in found}, problem

    def row(self, case: ExactCase, dtype: str, direction: str, **rest) -> None:
        self.rows.append(Row(self.task.definition, dtype, self.task.width, case.case.name, direction, **rest))

    def judge(self, case: ExactCase, dtype: str, direction: str, got: dict) -> None:
        usual = (FORWARD if direction == "forward" else GRADIENT)[dtype]
        if case.case.correlated and dtype in ALIKE:
            usual = ALIKE[dtype][direction != "forward"]
        errors = errors_of(got, case.forward if direction == "forward" else case.backward)
        allowed = {n: (usual, "") for n in errors}
        if max(errors.values()) > usual:
            for n, moved in case.moves(direction, UNIT[dtype]).items():
                units, reason = KNOWN.get((self.task.definition, n), (0, ""))
                allowed[n] = max(allowed[n], (ROUNDINGS * moved, "ill-conditioned inputs"), (units * UNIT[dtype], reason))
        worst = max(errors, key=lambda n: errors[n] / allowed[n][0])
        self.row(case, dtype, direction, error=errors[worst], tolerance=allowed[worst][0], worst=worst, reason=allowed[worst][1],
                 beyond=[(n, e, *allowed[n]) for n, e in errors.items() if e > usual])

    def no_result(self, case: ExactCase, dtype: str, direction: str, reason: str) -> None:
        self.row(case, dtype, direction, error=1e30, tolerance=0.0, worst="no result", reason=reason)

    def run(self) -> None:
        op = load(self.task.definition)
        for number, kind in enumerate(definitions.cases(op.definition())):
            with self.part("inputs, forward references"):
                case = ExactCase(op, self.task.definition, kind, self.task.width, DTYPES[self.task.dtypes[0]])
            for dtype in self.task.dtypes:
                with self.part("device" if number else "device, with compilation"):
                    results, gradients, problem = self.on_device(case, dtype)
                with self.part("backward references"):
                    _ = case.backward
                with self.part("comparisons"):
                    for direction, got in (("forward", results), ("backward", gradients)):
                        self.judge(case, dtype, direction, got) if got else self.no_result(case, dtype, direction, problem)
                        if not results:
                            break


def accuracy(task: Task) -> dict:
    """``rows`` of all cases of a task, and ``seconds`` by part."""
    trial = _Trial(task)
    trial.run()
    return {"rows": [asdict(r) for r in trial.rows], "seconds": dict(trial.seconds)}


#===----------------------------------------------------------------------===#
# Tables
#===----------------------------------------------------------------------===#


def largest_error(rows: list[dict]) -> float:
    return max(max(r["error"], *(e for _, e, *_ in r["beyond"])) if r["beyond"] else r["error"] for r in rows)


def summarise(rows: list[dict], problems: dict, stems, dtypes) -> list[str]:
    """One line a definition: the largest error of each type, forward and gradients, `!` where one exceeds its tolerance."""
    lines = [f"{'definition':<25}" + "".join(f"{t:>11}{'grad':>10}" for t in dtypes) + "   widths"]
    for stem in stems:
        line = f"{stem:<25}"
        for dtype in dtypes:
            for direction, width in (("forward", 11), ("backward", 10)):
                own = [r for r in rows if (r["definition"], r["dtype"], r["direction"]) == (stem, dtype, direction)]
                text = f"{largest_error(own):.1e}" if own else "-"
                failed = any(not r["error"] <= r["tolerance"] for r in own) or any(k[:2] == (stem, dtype) for k in problems)
                line += f"{text + ('!' if failed else ' '):>{width}}"
        widths = sorted({r["width"] for r in rows if r["definition"] == stem})
        lines.append(line + "   " + " ".join(map(str, widths)))
    return lines


def allowances(rows: list[dict]) -> list[str]:
    """What exceeds the usual tolerance and is within its own, by the reason: each result with its largest error and that one's allowance."""
    found: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    for r in rows:
        for name, error, allowed, reason in r["beyond"]:
            if reason and error <= allowed:
                found[reason][r["definition"], name, r["dtype"]].append((error, allowed))
    lines = []
    for reason, results in sorted(found.items()):
        every = [x for own in results.values() for x in own]
        lost = sum(allowed > LOST for _, allowed in every)
        lines.append(f"{len(every)} results beyond the usual tolerance, {reason}" + (f", {lost} of them allowed more than {LOST:g}" if lost else "") + ":")
        for (stem, name, dtype), own in sorted(results.items()):
            error, allowed = max(own)
            lines.append(f"  {stem} {name} ({dtype}), {len(own)}: at most {error:.1e}, allowed {allowed:.1e}")
    return lines
