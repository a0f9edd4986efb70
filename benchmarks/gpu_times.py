"""Times on one GPU: a part of gpu.py.

First calls are measured in processes of their own with empty caches (fla's and the
driver's of compiled PTX) and again with full ones; imports, the CUDA context and the
inputs come before. Several definitions are measured at once, on processors of their own.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time

import definitions
import torch
from fla.lang import load, programs
from torch.nn import functional as F
from workers import processors, run_tasks

import fla

__all__ = ["copy_rate", "first_calls", "forward_times", "graph", "launch_overhead", "new_shapes", "FORWARDS", "ASKED", "EACH"]

FORWARDS = ("simple_gla", "gla", "gated_delta_rule")
GATES = {"simple_gla": ("g",), "gla": ("gk",), "gated_delta_rule": ("g", "beta")}
ASKED = {"forward": 2.0, "backward": 3.0, "cached": 0.1, "overhead": 15e-6, "overhead with autograd": 40e-6}


def inputs(name: str, shape: tuple[int, int, int, int], device: str = "cuda", dtype=torch.bfloat16) -> dict[str, torch.Tensor]:
    """Tensors by name; natural-log gates from logsigmoid, keys of unit length."""
    B, T, H, D = shape
    draw = lambda *inner: torch.randn(B, T, H, *inner, device=device, dtype=dtype)  # noqa: E731
    x = {"q": draw(D), "k": F.normalize(draw(D), dim=-1), "v": draw(D)}
    for gate in GATES[name]:
        x[gate] = torch.sigmoid(draw()) if gate == "beta" else F.logsigmoid(draw(*([D] if gate == "gk" else [])) + 3)
    return x


def seconds(function, rounds: int = 20, box: float = 20.0) -> float:
    """Median of CUDA events around single calls, after three warm-ups."""
    for _ in range(3):
        function()
    torch.cuda.synchronize()
    times, end_at = [], time.monotonic() + box
    while len(times) < rounds and (time.monotonic() < end_at or not times):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def copy_rate() -> float:
    """Bytes a second of a device copy, read and written."""
    a = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    return 2 * a.numel() / seconds(lambda: b.copy_(a))


def forward_times(name: str, shape, rate: float, backward: bool) -> dict:
    """Forward, and forward with backward, beside the floor: every input read once, the output written once."""
    op, x = load(name), inputs(name, shape)
    call = lambda: op(**x, scale=shape[-1]**-0.5)[0]  # noqa: E731
    with torch.no_grad():
        forward = seconds(call)
    moved = sum(t.numel() * t.element_size() for t in x.values()) + x["v"].numel() * x["v"].element_size()
    row = {"name": name, "shape": "x".join(map(str, shape)), "forward_ms": forward * 1e3, "floor_ms": moved / rate * 1e3,
           "of_floor": moved / rate / forward}
    if backward:
        leaves = [t.requires_grad_() for t in x.values()]
        try:
            row["both_ms"] = seconds(lambda: torch.autograd.grad(call().square().mean(), leaves), rounds=5) * 1e3
        except RuntimeError as problem:  # too little memory for the gradients, say
            row["problem"] = str(problem)
    return row


def launch_overhead(name: str = "gated_delta_rule", calls: int = 200) -> dict:
    """Seconds that a repeated call keeps Python busy, at best of several rounds, the device far behind never."""
    op, x = load(name), inputs(name, (1, 64, 2, 64))
    leaves = {n: t.clone().requires_grad_() for n, t in x.items()}

    def round_of(call) -> float:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) / calls

    found = {}
    with torch.no_grad():
        for _ in range(3):
            op(**x)
        found["overhead"] = min(round_of(lambda: op(**x)) for _ in range(7))
    for _ in range(3):
        op(**leaves)
    found["overhead with autograd"] = min(round_of(lambda: op(**leaves)) for _ in range(7))
    o = op(**leaves)[0]
    wanted, d = list(leaves.values()), torch.randn_like(o)
    back = lambda: torch.autograd.grad(o, wanted, d, retain_graph=True)  # noqa: E731
    for _ in range(3):
        back()
    found["overhead of a backward"] = min(round_of(back) for _ in range(7))
    return found


def new_shapes(name: str = "gated_delta_rule", count: int = 50) -> int:
    """Compilations that `count` new batch sizes, lengths and head counts cause; 0 is asked."""
    op = load(name)

    def both(B: int, T: int, H: int, packed: bool) -> None:
        x = {n: t.requires_grad_() for n, t in inputs(name, (1 if packed else B, T, H, 64)).items()}
        offsets = torch.tensor([0, T // 3, T], device="cuda") if packed else None
        op(**x, cu_seqlens=offsets)[0].sum().backward()
        with torch.no_grad():
            op(**x, cu_seqlens=offsets)

    # Short and long, few heads and many: what forms and column blocks there are.
    for B, T, H in ((1, 150, 1), (1, 150, 64), (64, 600, 64)):
        for packed in (False, True):
            both(B, T, H, packed)
    before = fla.compilations()
    for i in range(count):
        both(1 + i % 3, 100 + 37 * i, 1 + i % 5, packed=i % 4 == 3)
    torch.cuda.synchronize()
    return fla.compilations() - before


def graph(name: str = "gated_delta_rule") -> bool:
    """Whether a captured forward replays right on new contents."""
    op, x = load(name), inputs(name, (2, 150, 2, 64))
    with torch.no_grad():
        op(**x, scale=0.3)
        torch.cuda.synchronize()
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            o, final = op(**x, scale=0.3, output_final_state=True)
        for _ in range(2):
            for t, new in zip(x.values(), inputs(name, (2, 150, 2, 64)).values()):
                t.copy_(new)
            captured.replay()
            want, state = op(**x, scale=0.3, output_final_state=True)
            if not (torch.equal(o, want) and torch.equal(final, state)):
                return False
    return True


# ---- First calls, in processes of their own ----

EACH = 4  # processors of a definition


def _alone(place: int) -> None:
    """In a worker: processors of its own, a context, torch's own first kernels, and the driver's library."""
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))[place * EACH:(place + 1) * EACH]
        os.sched_setaffinity(0, mine)
        torch.set_num_threads(len(mine))
    x = torch.randn(64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    (x.float() * 2).sum().backward()
    torch.cuda.synchronize()


@contextlib.contextmanager
def _compiling():
    """A list of the seconds that each call of the compiler takes meanwhile."""
    spent, ask = [], programs.ask

    def timed(*args):
        begin = time.perf_counter()
        try:
            return ask(*args)
        finally:
            spent.append(time.perf_counter() - begin)

    programs.ask = timed
    try:
        yield spent
    finally:
        programs.ask = ask


def _first(stem: str) -> dict:
    """Seconds of the first forward, training forward and backward of this process, and of these the compiler's."""
    op = load(stem)
    call = definitions.draw(stem, definitions.Case("first"), 128, tried=False)
    x = {n: t.cuda().bfloat16() for n, t in call.tensors.items()}
    leaves = {n: t.clone().requires_grad_() for n, t in x.items()}
    torch.cuda.synchronize()
    found, kept = {}, []

    def timed(name: str, function) -> None:
        begin = time.perf_counter()
        with _compiling() as spent:
            function()
            torch.cuda.synchronize()
        found[name], found[f"compiled {name}"] = time.perf_counter() - begin, sum(spent)

    with torch.no_grad():
        timed("forward", lambda: op(**x, **call.values))
    timed("training forward", lambda: kept.append(op(**leaves, **call.values)[0]))
    timed("backward", lambda: torch.autograd.grad(kept[0].float().sum(), list(leaves.values()), allow_unused=True))
    return found


@contextlib.contextmanager
def _environment(**variables: str):
    """For the processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def first_calls(stems: list[str], box: float) -> list[dict]:
    """Rows of cold and cached first calls; definitions that do not fit into `box` seconds are left out."""
    rows: dict[str, dict] = {s: {"definition": s} for s in stems}
    begin, jobs = time.monotonic(), max(1, processors() // EACH)
    with tempfile.TemporaryDirectory() as folder, _environment(FLA_CACHE_DIR=f"{folder}/fla", CUDA_CACHE_PATH=f"{folder}/cuda"):
        for kind, share in (("cold", 0.75), ("cached", 1.0)):
            todo = [s for s in stems if kind == "cold" or "forward" in rows[s].get("cold", {})]
            done, _ = run_tasks(_first, todo, begin + share * box, each=90.0, jobs=jobs, prepare=_alone)
            for stem, row, problem in done:
                rows[stem][kind] = row or {"problem": problem}
    return [r for r in rows.values() if "cold" in r]
