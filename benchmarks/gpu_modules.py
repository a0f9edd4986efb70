"""Times row-wise modules and the short convolution on one GPU: definitions, eager PyTorch, torch.compile.

    python benchmarks/gpu_modules.py [--rounds 30] [--json FILE] [--device cuda]

A line for each function, type and shape: milliseconds of a forward and of a forward with its
backward, by events on the stream, medians of alternating rounds after five warm-ups, and the
definition's largest relative error against PyTorch in float64. Needs PyTorch and the wheel.
`--device cpu` runs the same on small tensors, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from fla.lang import Vec, load, recurrence, silu
from fla.modules import _rows

SHAPES = ((1, 4096, 1024), (8, 2048, 1024), (8, 2048, 2048), (8, 2048 * 8, 128))
CONVOLUTIONS = ((1, 4096, 1024), (8, 2048, 1024), (8, 2048, 4096), (64, 1, 4096))
TYPES = (torch.bfloat16, torch.float32)


@recurrence
def swiglu(x: Vec["D"], y: Vec["D"]):
    return silu(x) * y


def tokens(x: torch.Tensor, most: int = 512) -> torch.Tensor:
    """[B, T, D] as [N, rows/N, 1, D] with up to `most` sequences, whose sums for a parameter run side by side."""
    rows = x.shape[0] * x.shape[1]
    return x.reshape(math.gcd(rows, most), -1, 1, x.shape[2])


def by_definition(op, names: tuple[str, ...] = (), **values) -> Callable:
    """(x, ...) to the definition's output: tensors [B, T, D], parameters [D]; those after x by these names, if any."""

    def run(x, *rest):
        rest = [t.unsqueeze(0) if t.dim() == 1 else tokens(t) for t in rest]
        if names:
            y, _ = op(tokens(x), **dict(zip(names, rest)), **values, form="chunk")
        else:
            y, _ = op(tokens(x), *rest, **values, form="chunk")
        return y.reshape(x.shape)

    return run


def convolution(channels: int) -> Callable:
    """(x [B, T, D], weight [D, 4]) by the definition, heads of so many channels."""

    def run(x, weight):
        heads = lambda t: t.unflatten(-1, (-1, channels))  # noqa: E731
        return load("short_conv")(heads(x), *heads(weight.t().contiguous()).unbind(0))[0].flatten(-2)

    return run


def eager_convolution(x, weight):
    y = F.conv1d(x.transpose(1, 2), weight.unsqueeze(1), padding=3, groups=x.shape[2])
    return F.silu(y[..., :x.shape[1]]).transpose(1, 2)


def eager_rms_norm(x, weight):
    return F.rms_norm(x, x.shape[-1:], weight, 1e-5)


def eager_gated(x, weight, gate):
    return F.rms_norm(x, x.shape[-1:], weight, 1e-5) * F.silu(gate)


def eager_unit(x):
    s = x.float() if x.dtype != torch.float64 else x
    return (s * torch.rsqrt(s.square().sum(-1, keepdim=True) + 1e-6)).to(x.dtype)


def eager_swiglu(x, y):
    return F.silu(x) * y


# Name: (definitions by name, eager, shapes of parameters by x's width, further inputs like x)
FUNCTIONS = {
    "RMS norm": ({"definition": by_definition(_rows.norm, ("weight", "gate"), eps=1e-5)}, eager_rms_norm, ["D"], 0),
    "RMS norm times swish gate": ({"definition": by_definition(_rows.norm, ("weight", "gate"), eps=1e-5)}, eager_gated, ["D"], 1),
    "l2norm": ({"definition": by_definition(_rows.unit, eps=1e-6)}, eager_unit, [], 0),
    "SwiGLU": ({"definition": by_definition(swiglu)}, eager_swiglu, [], 1),
    "short convolution": ({"definition": convolution(64), "heads of 128": convolution(128)}, eager_convolution, ["D4"], 0),
}


def make(shape, dtype, device, parameters: list[str], more: int) -> list[torch.Tensor]:
    """x, parameters, then further tensors like x."""
    draw = lambda *s: torch.randn(*s, device=device, dtype=dtype)  # noqa: E731
    sizes = {"D": (shape[-1],), "D4": (shape[-1], 4)}
    return [draw(*shape), *(draw(*sizes[p]) for p in parameters), *(draw(*shape) for _ in range(more))]


def milliseconds(call: Callable, device: str) -> float:
    if device == "cpu":
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) * 1e3
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def medians(calls: dict[str, Callable], rounds: int, device: str) -> dict[str, float]:
    """Milliseconds by name; the calls alternate."""
    for _ in range(5):
        for call in calls.values():
            call()
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(milliseconds(call, device))
    return {name: round(statistics.median(t), 4) for name, t in times.items()}


def error(function: Callable, eager: Callable, given: list[torch.Tensor]) -> float:
    """The largest relative error of the output and the gradients, against `eager` in float64 on the CPU."""

    def run(f, tensors):
        leaves = [t.detach().requires_grad_() for t in tensors]
        y = f(*leaves)
        ones = torch.linspace(-1, 1, y.shape[1], dtype=y.dtype, device=y.device)[:, None].expand_as(y)
        return [y, *torch.autograd.grad(y, leaves, ones)]

    exact = run(eager, [t.double().cpu() for t in given])
    return max(((a.double().cpu() - b).norm() / b.norm()).item() for a, b in zip(run(function, given), exact))


def measure(name: str, shape, dtype, rounds: int, device: str) -> dict:
    definitions, eager, parameters, more = FUNCTIONS[name]
    given = make(shape, dtype, device, parameters, more)
    functions = {**definitions, "eager": eager, "torch.compile": torch.compile(eager, dynamic=False)}
    leaves = [t.clone().requires_grad_() for t in given]
    gradient = torch.randn_like(given[0])

    def forward(f):
        with torch.no_grad():
            f(*given)

    def both(f):
        torch.autograd.grad(f(*leaves), leaves, gradient)

    row = {"function": name, "shape": list(shape), "dtype": str(dtype).removeprefix("torch."),
           "forward_ms": medians({n: lambda f=f: forward(f) for n, f in functions.items()}, rounds, device),
           "both_ms": medians({n: lambda f=f: both(f) for n, f in functions.items()}, rounds, device)}
    if given[0].numel() <= 1 << 24:
        row["error"] = {n: error(f, eager, given) for n, f in definitions.items()}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--json", help="write the rows there")
    given = parser.parse_args()
    rows = []
    for name in FUNCTIONS:
        for shape in CONVOLUTIONS if name == "short convolution" else SHAPES:
            for dtype in TYPES:
                small = (shape[0], min(shape[1], 64), min(shape[2], 256)) if given.device == "cpu" else shape
                try:
                    rows.append(measure(name, small, dtype, given.rounds, given.device))
                except Exception as problem:  # one that fails is a result, too
                    rows.append({"function": name, "shape": list(small), "dtype": str(dtype), "problem": str(problem)[:400]})
                print(json.dumps(rows[-1]), flush=True)
                torch._dynamo.reset()
    if given.json:
        facts = {"device": torch.cuda.get_device_name() if given.device == "cuda" else "cpu", "torch": torch.__version__, "rows": rows}
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(facts, file, indent=1)


if __name__ == "__main__":
    main()
