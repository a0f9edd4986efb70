"""Accuracy and times of compiled operators on one GPU, in under 9 minutes.

    python benchmarks/gpu.py [--json FILE] [--definition gla ...] [--only accuracy|times]

Accuracy: every definition of the library, forward and backward, against the float64
recurrence on the CPU, in bf16, fp16, TF32 and fp32, with weak, strong and zero gates,
ragged T, packed sequences, keys that are alike, K = V of 64, 128, 100 and 256; in as
many processes as there are processors, each compiling what it needs. Times: first calls
with empty and full caches, 50 new shapes, what a launch costs Python, a CUDA graph, and
forwards beside the floor of memory traffic. What the time did not allow is named.

Needs a GPU and the installed package alone (torch, fla). Tables come last.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import gpu_accuracy
import torch
from workers import processors, run_tasks

import fla
import fla.lang

RESULTS = Path(__file__).resolve().parent / "results"


def progress(total: int, what: str):
    """Tells how far it is: by tqdm where that is installed, else a line for every tenth."""
    try:
        from tqdm import tqdm
        bar = tqdm(total=total, desc=what, unit="task", file=sys.stderr)
        return lambda count, last: (bar.update(count - bar.n), bar.close() if count == total else None)
    except ImportError:
        step = max(1, total // 10)
        return lambda count, last: print(f"{what}: {count} of {total}", file=sys.stderr, flush=True) if count % step == 0 else None


def quiet(place: int) -> None:
    """In a worker: one thread, so that processors are shared."""
    torch.set_num_threads(1)


def at_once(device: str) -> int:
    """Processes: as many as processors, but no more than the GPU has memory for their contexts and tensors."""
    if device != "cuda":
        return processors()
    free, _ = torch.cuda.mem_get_info()
    return max(1, min(processors(), free // (2 << 30)))


def check_accuracy(given, deadline: float) -> dict:
    widths = [int(w) for w in given.widths.split(",")]
    tasks = gpu_accuracy.chosen_tasks(given.definition, given.dtypes.split(","), widths, given.device)
    done, left = run_tasks(gpu_accuracy.accuracy, tasks, deadline, jobs=given.jobs or at_once(given.device), prepare=quiet,
                           on_end=progress(len(tasks), "accuracy"), choose=gpu_accuracy.next_task, forked=True)
    rows = [r for _, result, _ in done if result for r in result["rows"]]
    problems = [{"definition": t.definition, "dtype": d, "width": t.width, "problem": p} for t, _, p in done if p for d in t.dtypes]
    return {"seconds": seconds_by_part(done), "problems": problems, "left_out": [f"{t.definition} {d} {t.width}" for t in left for d in t.dtypes],
            "tasks": [{"definition": t.definition, "dtypes": t.dtypes, "width": t.width, **rounded(result["seconds"])} for t, result, _ in done if result],
            "rows": rows}


def rounded(seconds: dict) -> dict:
    return {part: round(value, 2) for part, value in seconds.items()}


def seconds_by_part(done: list) -> dict[str, float]:
    """What all processes together spent on each part of the tasks."""
    parts: dict[str, float] = {}
    for _, result, _ in done:
        for part, seconds in (result or {"seconds": {}})["seconds"].items():
            parts[part] = round(parts.get(part, 0.0) + seconds, 1)
    return parts


def print_accuracy(found: dict, given) -> bool:
    dtypes = given.dtypes.split(",")
    problems = {(p["definition"], p["dtype"], p["width"]): p["problem"] for p in found["problems"]}
    print("\nlargest relative errors against float64, forward and gradients; ! where a tolerance is exceeded or something failed")
    print("\n".join(gpu_accuracy.summarise(found["rows"], problems, given.definition, dtypes)))
    wrong = [r for r in found["rows"] if not r["error"] <= r["tolerance"]]
    for r in wrong:
        what = r["reason"] if r["worst"] == "no result" else f"error {r['error']:.1e}, tolerance {r['tolerance']:.0e}"
        print(f"FAIL {r['definition']} {r['dtype']} {r['width']} {r['case']} {r['direction']}: {r['worst']}: {what}")
    print("\n".join(gpu_accuracy.allowances(found["rows"])))
    for (stem, dtype, width), text in problems.items():
        print(f"FAIL {stem} {dtype} {width}: {text.strip().splitlines()[0] if text.strip() else text}")
    print("seconds of all processes: " + ", ".join(f"{part} {seconds:.0f}" for part, seconds in found["seconds"].items()))
    print(f"{len(found['rows'])} comparisons, {len(wrong)} above their tolerance, {len(problems)} tasks failed, "
          f"{len(found['left_out'])} left out for lack of time")
    if found["left_out"]:
        print("left out: " + ", ".join(found["left_out"][:40]) + (", ..." if len(found["left_out"]) > 40 else ""))
    return not wrong and not problems


def measure_times(given, deadline: float) -> dict:
    """Every part by itself: one that fails or finds no time says so, and the others go on."""
    import gpu_times as times
    found: dict = {}

    def part(name: str, function) -> None:
        if time.monotonic() > deadline:
            found.setdefault("left_out", []).append(name)
            return
        print(f"times: {name}", file=sys.stderr, flush=True)
        try:
            found[name] = function()
        except Exception as error:
            found.setdefault("problems", {})[name] = f"{type(error).__name__}: {error}"

    def forwards() -> list[dict]:
        rows, rate = [], times.copy_rate()
        found["copy_rate"] = rate
        for shape in given.shape:
            for name in times.FORWARDS:
                row = times.forward_times(name, tuple(map(int, shape.split("x"))), rate, backward=True)
                rows.append(row)
        return rows

    part("forwards", forwards)
    part("overheads", times.launch_overhead)
    part("compilations of 50 new shapes", times.new_shapes)
    part("a graph replays right", times.graph)
    order = sorted(given.definition, key=lambda stem: stem not in times.FORWARDS)
    part("first calls", lambda: times.first_calls(order, max(60.0, deadline - time.monotonic())))
    measured = {row["definition"] for row in found.get("first calls", [])}
    found.setdefault("left_out", []).extend(f"first calls of {stem}" for stem in order if stem not in measured)
    return found


def mark(value: float, asked: float) -> str:
    return "" if value <= asked else f"  (asked: {asked:g})"


def print_first_calls(rows: list[dict]) -> None:
    """Seconds of first calls, of which how many in the compiler; the rest is the driver's."""
    from gpu_times import ASKED, EACH
    kinds = (("cold", "forward", 10), ("cold", "compiled forward", 10), ("cold", "backward", 10), ("cold", "compiled backward", 10),
             ("cached", "forward", 15), ("cached", "backward", 10))
    print(f"\n{'first calls, seconds':<25}{'forward':>10}{'of it ours':>10}{'backward':>10}{'of it ours':>10}{'cached forward':>15}{'backward':>10}")
    above = []
    for r in rows:
        cells = [r.get(kind, {}).get(name) for kind, name, _ in kinds]
        asked = [ASKED["cached" if kind == "cached" else name] if name in ("forward", "backward") else None for kind, name, _ in kinds]
        over = [f"{kind} {name} {c:.2f}" for (kind, name, _), c, a in zip(kinds, cells, asked) if None not in (c, a) and c > a]
        above += [f"{r['definition']} ({', '.join(over)})"] if over else []
        problem = r["cold"].get("problem", "") or r.get("cached", {}).get("problem", "")
        print(f"{r['definition']:<25}" + "".join(f"{'-' if c is None else f'{c:.3f}':>{w}}" for c, (_, _, w) in zip(cells, kinds)) +
              ("  !" if over else "") + (f"  {problem[:80]}" if problem else ""))
    print(f"asked: {ASKED['forward']:g} s, {ASKED['backward']:g} s, and {ASKED['cached']:g} s from the disk cache; {EACH} processors each")
    print(f"{len(rows)} definitions, {len(above)} above" + (": " + "; ".join(above) if above else ""))


def print_times(found: dict) -> None:
    from gpu_times import ASKED
    if rows := found.get("first calls"):
        print_first_calls(rows)
    for name, value in found.get("overheads", {}).items():
        print(f"{name}: {value * 1e6:.1f} us{mark(value, ASKED.get(name, value))}")
    for name in ("compilations of 50 new shapes", "a graph replays right"):
        if name in found:
            print(f"{name}: {found[name]}")
    if rows := found.get("forwards"):
        print(f"\n{'forward, bf16':<18} {'BxTxHxD':<16} {'time':>10} {'floor':>9} {'of floor':>9} {'with backward':>14}")
        for r in rows:
            both = f"{r['both_ms']:11.3f} ms" if "both_ms" in r else "-"
            print(f"{r['name']:<18} {r['shape']:<16} {r['forward_ms']:7.3f} ms {r['floor_ms']:6.3f} ms {r['of_floor']:9.0%} {both:>14}")
    for name, text in found.get("problems", {}).items():
        print(f"FAIL {name}: {text}")
    if found.get("left_out"):
        print("left out for lack of time: " + ", ".join(found["left_out"]))


def as_json(facts: dict) -> str:
    """Indented, but a row is a line."""
    lines = []

    def shorten(value):
        if isinstance(value, dict):
            return {k: shorten(v) for k, v in value.items()}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines.extend(json.dumps(row) for row in value)
            return [f"@{i}@" for i in range(len(lines) - len(value), len(lines))]
        return value

    return re.sub(r'"@(\d+)@"', lambda match: lines[int(match[1])], json.dumps(shorten(facts), indent=1))


def environment(device: str) -> dict:
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    try:
        driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True).stdout
    except OSError:
        driver = ""
    return {"device": name, "driver": driver.strip(), "torch": torch.__version__, "fla": fla.__version__, "processors": processors()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--definition", nargs="+", default=fla.lang.available(), help="default: the whole library")
    parser.add_argument("--dtypes", default="bf16,f32,f16,tf32")
    parser.add_argument("--widths", default="64,128,100,256", help="of K = V")
    parser.add_argument("--shape", nargs="+", default=["8x16384x8x128", "1x32768x16x128"], help="BxTxHxD of the timed forwards")
    parser.add_argument("--only", choices=["accuracy", "times"])
    parser.add_argument("--seconds", type=float, default=525, help="of the whole run")
    parser.add_argument("--times-seconds", type=float, default=190, help="of it for times, which come last")
    parser.add_argument("--jobs", type=int, default=0, help="processes at once (default: as many as processors)")
    parser.add_argument("--device", default="cuda", help="cpu tries the accuracy part where there is no GPU")
    parser.add_argument("--json", help="default: benchmarks/results/<device>-gpu.json")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU that PyTorch can use, got none (--device cpu tries the accuracy part without)")
    return given


def main() -> None:
    begin = time.monotonic()
    given = arguments()
    facts, right = environment(given.device), True
    both = given.only is None and given.device == "cuda"
    slug = re.sub(r"[^a-z0-9]+", "-", facts["device"].lower()).strip("-")
    out = Path(given.json or RESULTS / f"{slug}-gpu.json")
    out.parent.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        facts["seconds"] = time.monotonic() - begin
        out.write_text(as_json(facts) + "\n")

    if given.only != "times":
        facts["accuracy"] = check_accuracy(given, begin + given.seconds - (given.times_seconds if both else 0))
        save()
    if given.only != "accuracy" and given.device == "cuda":
        facts["times"] = measure_times(given, begin + given.seconds)
    save()
    print(f"{facts['device']}, driver {facts['driver'] or '-'}, torch {facts['torch']}, fla {facts['fla']}; {facts['seconds']:.0f} s; {out}")
    if "accuracy" in facts:
        right = print_accuracy(facts["accuracy"], given)
    if "times" in facts:
        print_times(facts["times"])
        right = right and not facts["times"].get("problems")
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
