"""compute-sanitizer on one small case of every kernel, in under 9 minutes.

    python benchmarks/gpu_sanitizers.py [--json FILE] [--definition gla ...] [--tools memcheck ...]

For every definition of the library a forward, a backward and a step of decoding, with
packed sequences (one of them empty) and without, under memcheck, racecheck, initcheck
and synccheck. All is compiled first, in parallel; then the tools run, as many processes
at once as there are processors, each on a few definitions. PyTorch allocates every
tensor by itself meanwhile, so that an access past its end is one. What the time did not
allow is named.

Needs a GPU, the installed package (torch, fla) and NVIDIA's compute-sanitizer, which
comes with the CUDA toolkit. The table comes last.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import definitions
import torch
from fla.lang import available, load
from workers import processors

RESULTS = Path(__file__).resolve().parent / "results"
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SMALL = (definitions.Case("batch", batch=1, tokens=70, start=False), definitions.Case("packed", packed=True, batch=1, tokens=300, group=2))
STEP = definitions.Case("step", batch=2, tokens=1, start=False)
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}


# ---- In the process that is watched ----

def exercise(stem: str, dtype: torch.dtype, width: int) -> None:
    """Launches the kernels of a definition: forward with what it saves, backward, decoding. Inputs come from the CPU."""
    op = load(stem)
    params = {a.name for a in op.definition().arguments if a.kind == "param"}
    for case in (*SMALL, STEP):
        call = definitions.draw(stem, case, width, tried=False)
        place = lambda n, x: x.to(torch.float32 if n in params else dtype).cuda()  # noqa: E731
        tensors = {n: place(n, x) for n, x in call.tensors.items()}
        with torch.no_grad():
            results = definitions.run(op, definitions.Call(tensors, call.values, (), call.offsets))
            if case is STEP:  # again, on a pool that is updated in place
                pool = tuple(results[len(op.definition().outputs):])
                definitions.run(op, definitions.Call(tensors, call.values, pool, None), inplace_final_state=True,
                                state_indices=torch.tensor([1, 0]).cuda())
                continue
        leaves = {n: x.requires_grad_() for n, x in tensors.items()}
        results = definitions.run(op, definitions.Call(leaves, call.values, (), call.offsets))
        # The weights come from the host, and nothing is added up by PyTorch: its kernels would be watched too.
        seeds = [(x, torch.ones(x.shape, dtype=x.dtype).cuda()) for x in results if x.requires_grad]
        torch.autograd.grad([x for x, _ in seeds], list(leaves.values()), [w for _, w in seeds], allow_unused=True)
    torch.cuda.synchronize()


def watched(words: list[str]) -> None:
    dtype, width, stems = DTYPES[words[0]], int(words[1]), words[2:]
    for stem in stems:
        print(f"begin {stem}", flush=True)
        try:
            exercise(stem, dtype, width)
        except Exception as error:
            print(f"problem {stem} {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", flush=True)
            if "CUDA" in str(error):
                return
        print(f"end {stem}", flush=True)


# ---- In the process that looks on ----

def find_sanitizer() -> str:
    """Its path: from PATH, the toolkit's usual folders, or NVIDIA's Python packages."""
    found = shutil.which("compute-sanitizer")
    places = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")), *sorted(Path("/usr/local").glob("cuda-*"), reverse=True)]
    for place in places:
        for path in (place / "bin" / "compute-sanitizer", place / "compute-sanitizer" / "compute-sanitizer"):
            found = found or (str(path) if path.exists() else None)
    for folder in sys.path:
        for path in Path(folder or ".").glob("nvidia/*/bin/compute-sanitizer"):
            found = found or str(path)
    if not found:
        raise SystemExit("gpu_sanitizers.py: expected compute-sanitizer in PATH, in CUDA_HOME/bin or in /usr/local/cuda/bin, got none; "
                         "install the package cuda-sanitizer of the CUDA toolkit")
    return found


def run_process(command: list[str], timeout: float) -> tuple[int | None, str]:
    """(status or None after the timeout, everything printed)."""
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "OMP_NUM_THREADS": "1", "CUDA_MODULE_LOADING": "LAZY"}
    with tempfile.TemporaryFile("w+", errors="replace") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, text=True, start_new_session=True)
        try:
            status = process.wait(timeout=max(1.0, timeout))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the sanitizer and what it watches
            process.wait()
            status = None
        out.seek(0)
        return status, out.read()


def findings(text: str) -> dict[str, list[str]]:
    """What a tool said while each definition ran: its lines that are not its banner."""
    found: dict[str, list[str]] = {}
    current = ""
    for line in text.splitlines():
        if match := re.match(r"(begin|end|problem) (\w+) ?(.*)", line):
            current = match[2] if match[1] != "end" else ""
            found.setdefault(match[2], [])
            if match[1] == "problem":
                found[match[2]].append(match[3] or "problem")
        elif line.startswith("=========") and re.search(r"(Invalid|Uninitialized|hazard|Race|Barrier|divergent|misaligned|leak|Error:|error)", line, re.I) \
                and not re.search(r"(ERROR|RACECHECK) SUMMARY|COMPUTE-SANITIZER|Target application returned", line):
            found.setdefault(current or "(no definition)", []).append(line.strip("= "))
    return found


class Plan:
    """Which tool watches which definitions, and what came of it."""

    def __init__(self, given, sanitizer: str, deadline: float):
        self.given, self.sanitizer, self.deadline = given, sanitizer, deadline
        self.cells: dict[tuple[str, str], str] = {}
        self.details: dict[str, list[str]] = {}

    def command(self, stems: list[str]) -> list[str]:
        return [sys.executable, __file__, "--watched", self.given.dtype, str(self.given.width), *stems]

    def compile(self) -> None:
        """Fills fla's cache and the driver's."""
        jobs = self.given.jobs
        shares = [s for s in (self.given.definition[i::jobs] for i in range(jobs)) if s]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda stems: run_process(self.command(stems), self.deadline - time.monotonic()), shares))

    def watch(self, tool: str, stems: list[str]) -> None:
        left = self.deadline - time.monotonic()
        if left < 15:
            return
        # What a driver's call returns is PyTorch's and fla's to check: kernels are watched here.
        extra = {"racecheck": ["--racecheck-report", "all"], "memcheck": ["--report-api-errors", "no"]}.get(tool, [])
        status, text = run_process([self.sanitizer, "--tool", tool, *extra, "--error-exitcode", "9", *self.command(stems)], left)
        found = findings(text)
        for stem in stems:
            if f"end {stem}" not in text:
                if status is not None or found.get(stem):
                    self.cells[stem, tool] = "FAIL"
                    self.details[f"{stem} {tool}"] = found.get(stem) or [f"its process ended with status {status}", *text.splitlines()[-5:]]
                continue  # without a status the time was over: left out
            self.cells[stem, tool] = str(len(found.get(stem, []))) if found.get(stem) else "clean"
            if found.get(stem):
                self.details[f"{stem} {tool}"] = found[stem]
        summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", text)
        if any(int(n) for n in summary) and not any(found.values()):
            self.details[f"{' '.join(stems)} {tool}"] = text.splitlines()[-20:]
            self.cells.update({(stem, tool): "FAIL" for stem in stems})

    def try_to_watch(self, tool: str, stems: list[str]) -> None:
        try:
            self.watch(tool, stems)
        except Exception as error:  # the others go on
            self.cells.update({(stem, tool): "FAIL" for stem in stems})
            self.details[f"{' '.join(stems)} {tool}"] = [f"{type(error).__name__}: {error}"]

    def run(self) -> None:
        stems, jobs = self.given.definition, self.given.jobs
        size = max(1, -(-len(stems) * len(self.given.tools) // (2 * jobs)))
        tasks = [(tool, stems[i:i + size]) for tool in self.given.tools for i in range(0, len(stems), size)]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda task: self.try_to_watch(*task), tasks))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--definition", nargs="+", default=available(), help="default: the whole library")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="bf16")
    parser.add_argument("--width", type=int, default=64, help="of K = V")
    parser.add_argument("--seconds", type=float, default=510, help="of the whole run")
    parser.add_argument("--jobs", type=int, default=0, help="processes at once (default: by processors and memory)")
    parser.add_argument("--json", help="default: benchmarks/results/<device>-sanitizers.json")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("expected a GPU that PyTorch can use, got none")
    given.jobs = given.jobs or max(1, min(processors(), torch.cuda.mem_get_info()[0] // (3 << 30)))
    return given


def main() -> None:
    begin = time.monotonic()
    given = arguments()
    plan = Plan(given, find_sanitizer(), begin + given.seconds)
    print("compiling", file=sys.stderr, flush=True)
    plan.compile()
    print(f"compiled in {time.monotonic() - begin:.0f} s; watching", file=sys.stderr, flush=True)
    plan.run()
    facts = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "dtype": given.dtype, "width": given.width,
             "seconds": time.monotonic() - begin, "rows": [{"definition": s, "tool": t, "result": r} for (s, t), r in sorted(plan.cells.items())],
             "details": plan.details}
    slug = re.sub(r"[^a-z0-9]+", "-", facts["device"].lower()).strip("-")
    out = Path(given.json or RESULTS / f"{slug}-sanitizers.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(facts, indent=1) + "\n")
    for what, lines in plan.details.items():
        print(f"{what}:", *lines[:12], sep="\n  ")
    print(f"\n{facts['device']}, {given.dtype}, K = V = {given.width}; {facts['seconds']:.0f} s; {out}")
    print(f"{'definition':<25}" + "".join(f"{t:>12}" for t in given.tools))
    for stem in given.definition:
        print(f"{stem:<25}" + "".join(f"{plan.cells.get((stem, t), 'left out'):>12}" for t in given.tools))
    wrong = [cell for cell, result in plan.cells.items() if result != "clean"]
    left = len(given.definition) * len(given.tools) - len(plan.cells)
    print(f"{len(plan.cells) - len(wrong)} clean, {len(wrong)} with findings, {left} left out for lack of time")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--watched"]:
        watched(sys.argv[2:])
    else:
        main()
