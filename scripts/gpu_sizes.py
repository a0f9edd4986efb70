#!/usr/bin/env python3
"""Lists which definitions of lib/Models compile to device form for GPUs at which sizes.

    scripts/gpu_sizes.py build/bin/fla-opt                  sm_90 and gfx942, bf16: minutes
    scripts/gpu_sizes.py build/bin/fla-opt --chips sm_120,gfx1100 --models gla,mamba --dtype f32

A row a definition, a column a size: the blocks that states are cut into and the
largest shared memory of a kernel in KiB, or `-` with the reason below the table.
Exit status 1 if anything is refused.
"""

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent / "lib" / "Models"
SIZES = [(64, 64), (64, 128), (128, 128), (256, 256), (100, 100)]
# Features that are squares of a dimension; the authors of such definitions use 16.
FEATURES = {"based": 16, "rebased": 16}
TARGETS = {"sm": "cuda", "gfx": "hip"}


def dims_of(model: str, k: int, v: int) -> str:
    """Every dimension that definitions use: K and V, and others by what they stand for."""
    sizes = {"K": k, "V": v, "N": k, "P": v, "D": FEATURES.get(model, v), "M": 64, "R": k // 2}
    return ",".join(f"{name}:{size}" for name, size in sizes.items())


def compile_one(tool: str, model: str, chip: str, size: tuple, grad: bool, dtype: str) -> tuple[str, str]:
    """(cell of the table, why it is refused or '')."""
    vendor = TARGETS[re.match("[a-z]+", chip).group()]
    options = f"target={vendor}:{chip} dims={dims_of(model, *size)} dtype={dtype} grad={str(grad).lower()}"
    run = subprocess.run([tool, str(MODELS / f"{model}.mlir"), f"--fla-compile={options}"], capture_output=True, text=True)
    if run.returncode:
        lines = [line.split("error: ", 1)[1] for line in run.stderr.splitlines() if "error: " in line]
        return "-", lines[0] if lines else f"exit status {run.returncode}"
    shared = max(map(int, re.findall(r"fla\.shared = (\d+)", run.stdout)), default=0)
    blocks = max(map(int, re.findall(r"fla\.blocks = (\d+)", run.stdout)), default=1)
    return f"{blocks}b {shared / 1024:.0f}K", ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", help="fla-opt")
    parser.add_argument("--chips", default="sm_90,gfx942")
    parser.add_argument("--models", default="", help="some of lib/Models, separated by commas")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    models = [m for m in args.models.split(",") if m] or sorted(path.stem for path in MODELS.glob("*.mlir"))
    refused = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for chip in args.chips.split(","):
            for grad in (False, True):
                print(f"\n{chip}, {args.dtype}, forward{' and backward' if grad else ''}")
                print(f"{'':28}" + "".join(f"{k}x{v}".rjust(12) for k, v in SIZES))
                jobs = {(m, s): pool.submit(compile_one, args.tool, m, chip, s, grad, args.dtype) for m in models for s in SIZES}
                for model in models:
                    cells = [jobs[model, size].result() for size in SIZES]
                    print(f"{model:28}" + "".join(cell.rjust(12) for cell, _ in cells), flush=True)
                    refused += [f"{model} {k}x{v} {chip}{' backward' if grad else ''}: {why}"
                                for (k, v), (_, why) in zip(SIZES, cells) if why]
    print(f"\n{len(refused)} refused" + "".join(f"\n  {line}" for line in refused))
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
