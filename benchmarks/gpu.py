"""Times on one GPU: forward and forward + backward of compiled operators.

    python benchmarks/gpu.py [--json FILE] [--shape 8x16384x8x128 ...]

bf16 (gates too), medians of CUDA events; the floor is every input read once and the
output written once at the device's copy rate, measured in the same run. Before
anything is timed each forward is compared with float64 on the CPU at a small size.
Needs a GPU and the installed package alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch.nn import functional as F

import fla
import fla.lang

GATES = {"simple_gla": ("g",), "gla": ("gk",), "gated_delta_rule": ("g", "beta")}


def inputs(name: str, shape: tuple[int, int, int, int], device: str, dtype=torch.bfloat16) -> dict[str, torch.Tensor]:
    """Tensors by name; natural-log gates from logsigmoid, keys of unit length."""
    B, T, H, D = shape
    draw = lambda *inner: torch.randn(B, T, H, *inner, device=device, dtype=dtype)  # noqa: E731
    x = {"q": draw(D), "k": F.normalize(draw(D), dim=-1), "v": draw(D)}
    for gate in GATES[name]:
        x[gate] = torch.sigmoid(draw()) if gate == "beta" else F.logsigmoid(draw(*([D] if gate == "gk" else [])) + 3)
    return x


def seconds(function, rounds: int = 20) -> float:
    """Median of CUDA events around single calls, after three warm-ups."""
    for _ in range(3):
        function()
    times = []
    for _ in range(rounds):
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


def error(name: str, op) -> float:
    """Relative error of a small forward against float64 on the CPU."""
    x = inputs(name, (1, 200, 2, 128), "cuda")
    got = op(**x, scale=128**-0.5)[0].double().cpu()
    want = op(**{n: t.double().cpu() for n, t in x.items()}, scale=128**-0.5)[0]
    return ((got - want).norm() / want.norm()).item()


def measure(name: str, shape, rate: float) -> dict:
    op = fla.lang.load(name)
    begin = time.perf_counter()
    wrong = error(name, op)
    first = time.perf_counter() - begin
    x = inputs(name, shape, "cuda")
    call = lambda: op(**x, scale=shape[-1]**-0.5)[0]  # noqa: E731
    with torch.no_grad():
        forward = seconds(call)
    moved = sum(t.numel() * t.element_size() for t in x.values()) + x["v"].numel() * x["v"].element_size()
    leaves = [t.requires_grad_() for t in x.values()]
    try:
        both = seconds(lambda: torch.autograd.grad(call().square().mean(), leaves), rounds=5)
    except RuntimeError as problem:  # too little memory for the gradients, say
        both, _ = float("nan"), print(f"{name}: forward + backward: {problem}")
    return {"name": name, "shape": "x".join(map(str, shape)), "error": wrong, "first_call_s": first,
            "forward_ms": forward * 1e3, "floor_ms": moved / rate * 1e3, "both_ms": both * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", action="append", help="BxTxHxD; several allowed (8x16384x8x128, 1x32768x16x128)")
    parser.add_argument("--json", help="write the rows there too")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py: expected a GPU that PyTorch can use, got none")
    rate = copy_rate()
    rows = []
    for shape in arguments.shape or ["8x16384x8x128", "1x32768x16x128"]:
        for name in GATES:
            rows.append(measure(name, tuple(map(int, shape.split("x"))), rate))
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, fla {fla.__version__}, copies at {rate / 1e12:.2f} TB/s")
    print(f"{'operator':<18} {'BxTxHxD':<18} {'error':>8} {'forward':>10} {'floor':>9} {'of floor':>9} {'fwd + bwd':>11}")
    for row in rows:
        print(f"{row['name']:<18} {row['shape']:<18} {row['error']:8.1e} {row['forward_ms']:7.3f} ms {row['floor_ms']:6.3f} ms "
              f"{row['floor_ms'] / row['forward_ms']:8.0%} {row['both_ms']:8.3f} ms")
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump({"device": torch.cuda.get_device_name(), "copy_rate": rate, "rows": rows}, out, indent=1)


if __name__ == "__main__":
    main()
