#!/usr/bin/env python3
"""Compiles every definition of lib/Models for every GPU that is asked for, to machine code.

    scripts/gpu_resources.py build/bin/fla-translate                    all; writes docs/gpu-resources.md
    scripts/gpu_resources.py build/bin/fla-translate --out FILE         all; writes FILE
    scripts/gpu_resources.py build/bin/fla-translate --models gla,kda --chips sm_90 --print

Three programs a definition: a forward, a forward that saves with its backward, and the
recurrent form that decodes. NVIDIA's code goes through ptxas where it is installed, else
it stays PTX and has no row. A row a kernel, a column a chip: registers a thread, shared memory
of a block in KiB, bytes spilled. Exit status 1 if anything is refused.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gpu_sizes import MODELS, dims_of

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "gpu-resources.md"
CHIPS = ("sm_80", "sm_90", "sm_120", "gfx90a", "gfx942", "gfx1100", "gfx1201")
PROGRAMS = {"forward": ["--grad=false"], "training": ["--grad=true"], "decode": ["--form=recurrent", "--grad=false"]}
WIDTH = 128  # of keys and values

HEADER = f"""# Registers, shared memory and spills

Written by `scripts/gpu_resources.py`; bf16, K = V = {WIDTH}, each definition as a forward, as what trains
(a forward that saves and its backward) and as what decodes. A cell holds registers a thread, shared
memory of a block in KiB, and bytes that registers spill, as ptxas and LLVM's AMD back end report them;
`-` is a kernel that this chip's program does not have.

"""


@dataclass
class Result:
    """What one compilation gave: a cell a kernel, or why there is none."""

    cells: dict[str, str] = field(default_factory=dict)
    spills: dict[str, int] = field(default_factory=dict)
    refused: str = ""


def has_ptxas() -> bool:
    return bool(shutil.which("ptxas")) or os.path.exists("/usr/local/cuda/bin/ptxas")


def translation_of(chip: str) -> str:
    if chip.startswith("gfx"):
        return "--fla-to-hsaco"
    return "--fla-to-cubin" if has_ptxas() else "--fla-to-ptx"


def read_report(text: str) -> Result:
    """Rows of --resources: kernel, chip, threads, registers, shared bytes, spilled bytes, ..."""
    found = Result()
    for line in text.splitlines():
        words = line.split()
        if len(words) > 5 and re.match(r"(sm_|gfx)", words[1]) and words[3].isdigit():
            found.cells[words[0]] = f"{words[3]} {int(words[4]) / 1024:.0f}K {words[5]}"
            found.spills[words[0]] = int(words[5])
    return found


def compile_one(tool: str, model: str, program: str, chip: str) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        command = [tool, str(MODELS / f"{model}.mlir"), translation_of(chip), f"--chip={chip}", "--dtype=bf16",
                   f"--dims={dims_of(model, WIDTH, WIDTH)}", "--resources", *PROGRAMS[program], "-o", f"{folder}/code"]
        run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        lines = [line.split("error: ", 1)[1] for line in run.stderr.splitlines() if "error: " in line]
        return Result(refused=lines[0] if lines else f"exit status {run.returncode}")
    return read_report(run.stderr)


def rows_of(model: str, program: str, results: dict[str, Result]) -> list[str]:
    """Rows of one program: its kernels, in the order of the chip that has most."""
    kernels = list(max(results.values(), key=lambda r: len(r.cells)).cells)
    kernels += [k for r in results.values() for k in r.cells if k not in kernels]
    cell = lambda r, kernel: r.cells.get(kernel, "refused" if r.refused else "-")  # noqa: E731
    return [f"| {model} | {program} | {kernel} | " + " | ".join(cell(r, kernel) for r in results.values()) + " |"
            for kernel in dict.fromkeys(kernels)] or [f"| {model} | {program} | | " + " | ".join("refused" for _ in results) + " |"]


def summary(chips: list[str], found: dict) -> list[str]:
    """Of each chip: kernels, and those that spill, by program."""
    lines = ["| chip | " + " | ".join(f"{p}: kernels, of them spill" for p in PROGRAMS) + " | refused |", "|---|" + "---|" * (len(PROGRAMS) + 1)]
    for chip in chips:
        cells = []
        for program in PROGRAMS:
            spills = [s for (_, p), results in found.items() if p == program for s in results[chip].spills.values()]
            cells.append(f"{len(spills)}, {sum(map(bool, spills))}")
        refused = sum(bool(results[chip].refused) for results in found.values())
        lines.append(f"| {chip} | " + " | ".join(cells) + f" | {refused} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", help="fla-translate")
    parser.add_argument("--chips", default=",".join(CHIPS))
    parser.add_argument("--models", default="", help="some of lib/Models, separated by commas")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=TABLE, help="where to write the table")
    parser.add_argument("--print", action="store_true", help="print the table instead of writing it")
    args = parser.parse_args()
    chips = args.chips.split(",")
    models = [m for m in args.models.split(",") if m] or sorted(path.stem for path in MODELS.glob("*.mlir"))
    found, lines = {}, ["| definition | program | kernel | " + " | ".join(chips) + " |", "|---|---|---|" + "---|" * len(chips)]
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = {(m, p, c): pool.submit(compile_one, args.tool, m, p, c) for m in models for p in PROGRAMS for c in chips}
        for i, model in enumerate(models):
            for program in PROGRAMS:
                found[model, program] = {c: jobs[model, program, c].result() for c in chips}
                lines += rows_of(model, program, found[model, program])
            print(f"{i + 1}/{len(models)} {model}", file=sys.stderr, flush=True)
    refused = [f"{m} {p} {c}: {r.refused}" for (m, p), results in found.items() for c, r in results.items() if r.refused]
    text = HEADER + "\n".join(summary(chips, found) + [""] + lines) + "\n"
    if args.print:
        print(text)
    else:
        args.out.write_text(text, encoding="utf-8")
    if not has_ptxas():
        print("ptxas is not installed: PTX was made and not checked by it")
    print(f"{sum(len(r) for r in found.values())} programs, {len(refused)} refused" + "".join(f"\n  {line}" for line in refused))
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
