"""Runs flash-linear-attention's own tests against this package, and writes docs/compatibility.md.

    git clone https://github.com/fla-org/flash-linear-attention suite
    git -C suite checkout 7151aa9b2d070f4d85acef2de2be1838fb95173e
    python scripts/conformance.py run suite --results results.json [--minutes 8] [--only test_gla]
    python scripts/conformance.py run suite --results gpu.json --device cuda --folder tests/ops --jobs 8 --group 10
    python scripts/conformance.py merge more.json --results results.json
    python scripts/conformance.py table --results results.json

The suite is used as it is and never copied. ``run`` goes on where it stopped: what
results.json has is not run again, unless --again says failed or all. It runs test
after test in processes of their own size; one that dies is a failure of the test it
was at. The tests want einops, and transformers for the models; on a busy machine they
are quicker with OMP_NUM_THREADS=1, and so they are with --jobs. `fla` is that of
PYTHONPATH where it has one, else this checkout's. Results of several machines or processes go into one
file with ``merge``, which lets the added ones win.

``table`` refuses to write while a failure has no explanation in
scripts/conformance_notes.json, which maps a part of a test's name to one.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parents[1]
PAGE, NOTES = ROOT / "docs" / "compatibility.md", ROOT / "scripts" / "conformance_notes.json"
COMMIT = "7151aa9b2d070f4d85acef2de2be1838fb95173e"
FOLDERS = ("tests/ops", "tests/modules", "tests/models")
# Files of what this package does not have yet.
LATER = {
    "tests/ops": ("forgetting_attn", "log_linear_attn", "mesa", "nsa", "path_attn", "titans", "ttt"),
    "tests/models": ("modeling_forgetting_transformer", "modeling_log_linear_mamba2", "modeling_mesanet",
                     "modeling_mla", "modeling_nsa", "modeling_path_attn"),
}
STREAM = "FLA_CONFORMANCE_STREAM"
PATIENCE = 300.0  # seconds for one test


# The plugin: this file, loaded by the pytest that it starts.
def _tell(**row) -> None:
    with open(os.environ[STREAM], "a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def pytest_runtest_logstart(nodeid, location):
    _tell(test=nodeid, outcome="started")


def pytest_runtest_logreport(report):
    """One row a test: its call, or the set-up that failed or skipped."""
    if report.when != "call" and report.outcome == "passed" or report.when == "teardown" and report.outcome != "failed":
        return
    reason = ""
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    elif report.outcome == "failed":
        reason = str(getattr(report.longrepr, "reprcrash", None) or report.longrepr)[-600:]
    _tell(test=report.nodeid, outcome=report.outcome, seconds=round(report.duration, 2), reason=reason)


# Running.
def _files(suite: Path, only: str | None, folders: tuple[str, ...] = FOLDERS) -> list[str]:
    found = []
    for folder in folders:
        later = {f"test_{name}.py" for name in LATER.get(folder, ())}
        found += [f"{folder}/{path.name}" for path in sorted((suite / folder).glob("test_*.py")) if path.name not in later]
    # Two files of the models are what the others share.
    found = [f for f in found if Path(f).name not in ("test_modeling_base.py", "test_modeling_utils.py")]
    return [f for f in found if only is None or only in f]


def _environment(stream: Path) -> dict:
    kept = {k: v for k, v in os.environ.items() if k != "FLA_CI_ENV"}
    path = [kept.get("PYTHONPATH", ""), str(ROOT / "python"), str(ROOT / "scripts")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, path)), STREAM: str(stream), "PYTHONDONTWRITEBYTECODE": "1"}


def _pytest(suite: Path, stream: Path, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess | None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=line", *arguments]
    try:
        return subprocess.run(command, cwd=suite, env=_environment(stream), capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None


def _collect(suite: Path, file: str, stream: Path) -> list[str]:
    done = _pytest(suite, stream, "--collect-only", file)
    found = [line.strip() for line in done.stdout.splitlines() if line.startswith(file + "::")]
    if not found:
        raise SystemExit(f"conformance: expected tests in {file}, got:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found


def _read(stream: Path) -> dict:
    """Rows by test; a test that only started has no outcome yet."""
    rows = {}
    if stream.is_file():
        for line in stream.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            known = rows.get(row["test"], {})
            if row["outcome"] != "started" and known.get("outcome") != "failed":
                rows[row["test"]] = row
            else:
                rows.setdefault(row["test"], row)
    return rows


def _run_some(suite: Path, tests: list[str], stream: Path, seconds: float) -> dict:
    """Results of these tests, fewer if the time is over.

    A process that dies is its last test's failure, and so is one that PATIENCE was not
    enough for: it would be tried for ever.
    """
    stream.unlink(missing_ok=True)
    done = _pytest(suite, stream, "-p", "conformance", *tests, timeout=seconds)
    rows = _read(stream)
    stream.unlink(missing_ok=True)
    results = {name: row for name, row in rows.items() if row["outcome"] != "started"}
    why = f"the process ended with {done.returncode}" if done else f"no result in {seconds:.0f} seconds"
    if done or not results and seconds >= PATIENCE:
        started = [name for name, row in rows.items() if row["outcome"] == "started"]
        results.update({n: {"test": n, "outcome": "failed", "seconds": 0, "reason": why} for n in started})
    return results


def _load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"collected": {}, "results": {}}


def _save(path: Path, state: dict) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(state, indent=1), encoding="utf-8")
    os.replace(scratch, path)


def _facts() -> dict:
    version = lambda name: importlib.metadata.version(name)
    facts = {"Python": platform.python_version(), **{n: version(n) for n in ("torch", "transformers", "pytest")}}
    done = subprocess.run([sys.executable, "-c", "from fla.utils import device; print(device)"], capture_output=True,
                          text=True, env=_environment(Path(os.devnull)), check=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 ** 30
    return {**facts, "fla.utils.device": done.stdout.strip(), "memory": f"{memory:.0f} GiB"}


def run(suite: Path, results: Path, minutes: float, only: str | None, again: str | None, group: int,
        folders: tuple[str, ...] = FOLDERS, jobs: int = 1, device: str | None = None) -> None:
    """Runs what has no result yet, for `minutes`, in `jobs` processes at once."""
    end = time.monotonic() + 60 * minutes
    state, facts, files = _load(results), None, _files(suite, only, folders)
    streams = [results.with_suffix(f".{i}.stream") for i in range(jobs)]  # one a job, handed from task to task
    saving = Lock()

    def collect(file: str) -> None:
        stream = streams.pop()
        state["collected"][file] = _collect(suite, file, stream)
        streams.append(stream)

    def run_group(file: str, tests: list[str]) -> None:
        left = end - time.monotonic()
        if left <= 0:
            return
        stream = streams.pop()
        new = _run_some(suite, tests, stream, max(30.0, left))
        streams.append(stream)
        with saving:
            state["results"].update(new)
            _save(results, state)
            _report(file, new)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(collect, [f for f in files if f not in state["collected"]]))
        _save(results, state)
        groups = [(f, tests) for f in files for tests in _groups(state, f, again, group)]
        if groups and time.monotonic() < end:
            state["facts"] = facts = _facts()
            if device not in (None, facts["fla.utils.device"]):
                raise SystemExit(f"conformance: expected fla.utils.device to be {device}, got {facts['fla.utils.device']}")
            list(pool.map(lambda pair: run_group(*pair), groups))
    left = sum(t not in state["results"] for f in files for t in state["collected"].get(f, [None]))
    print(f"{len(state['results'])} results, {left} tests (or files) without one")


def _groups(state: dict, file: str, again: str | None, size: int) -> list[list[str]]:
    """The tests of a file that are due, `size` a process."""
    wanted = [t for t in state["collected"][file] if _due(state["results"].get(t), again)]
    return [wanted[i:i + size] for i in range(0, len(wanted), size)]


def _report(file: str, new: dict) -> None:
    print(f"{file}: {dict(Counter(r['outcome'] for r in new.values()))}", flush=True)
    for name, row in new.items():
        if row["outcome"] == "failed":
            print(f"  FAILED {name}\n    {row['reason']}", flush=True)


def merge(more: Path, results: Path) -> None:
    """Adds what `more` knows to `results`, in place of what was there."""
    state, new = _load(results), _load(more)
    for part in ("collected", "results", "facts"):
        state.setdefault(part, {}).update(new.get(part, {}))
    _save(results, state)
    print(f"{len(new['results'])} results of {more.name}, {len(state['results'])} in all")


def _due(row: dict | None, again: str | None) -> bool:
    return row is None or again == "all" or again == "failed" and row["outcome"] == "failed"


# The page.
def _table(state: dict) -> tuple[list[str], Counter]:
    lines = ["| file | passed | failed | skipped by the suite | of those run |", "|---|---|---|---|---|"]
    total = Counter()
    for file, tests in sorted(state["collected"].items()):
        counts = Counter(state["results"].get(t, {"outcome": "missing"})["outcome"] for t in tests)
        total.update(counts)
        lines.append(_row(f"`{file}`", counts))
    return [*lines, _row("**all**", total)], total


def _row(name: str, counts: Counter) -> str:
    ran = counts["passed"] + counts["failed"]
    share = f"{100 * counts['passed'] / ran:.1f} %" if ran else "none"
    return f"| {name} | {counts['passed']} | {counts['failed']} | {counts['skipped']} | {share} |"


def _explained(state: dict, notes: dict) -> tuple[list[str], list[str]]:
    """(a line for each explanation and the failures it is for, failures that none explains)."""
    named, open_ = {}, []
    for name, row in sorted(state["results"].items()):
        if row["outcome"] == "failed":
            note = next((text for part, text in notes.items() if part in name), None)
            named.setdefault(note, []).append(f"`{name}`")
            open_ += [] if note else [f"{name}: {row['reason']}"]
    return [f"- {', '.join(names)}: {note}" for note, names in named.items()], open_


def _skips(state: dict) -> list[str]:
    reasons = Counter(row["reason"].removeprefix("Skipped: ") for row in state["results"].values() if row["outcome"] == "skipped")
    return [f"- {count} × {reason}" for reason, count in reasons.most_common()]


def page(state: dict, notes: dict) -> str:
    """The page's text. Raises SystemExit while tests have no result or failures no explanation."""
    lines, total = _table(state)
    explained, open_ = _explained(state, notes)
    if open_ or total["missing"]:
        raise SystemExit("\n".join([f"conformance: expected a result for every test, {total['missing']} have none, and an "
                                    f"explanation of every failure in {NOTES.name}, got none for {len(open_)}:", *open_]))
    facts = ", ".join(f"{k} {v}" for k, v in state["facts"].items())
    later = ", ".join(sorted({name.removeprefix("modeling_") for names in LATER.values() for name in names}))
    return "\n".join([
        "# Compatibility", "",
        f"flash-linear-attention's tests of September 2025 (commit {COMMIT[:8]}, version 0.3.2), run as they are against "
        f"this package by [scripts/conformance.py](../scripts/conformance.py): {facts}. Not run, because this package does "
        f"not have them yet: {later}.", "", *lines, "", "## Failures", "",
        *(explained or ["None."]), "", "## What the suite skips here, and why", "", *(_skips(state) or ["Nothing."]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="run what has no result yet")
    runner.add_argument("suite", type=Path, help="a checkout of the suite")
    runner.add_argument("--minutes", type=float, default=10_000, help="stop after this time")
    runner.add_argument("--only", help="files with this in their name")
    runner.add_argument("--again", choices=("failed", "all"), help="run these again although they have a result")
    runner.add_argument("--group", type=int, default=40, help="tests a process")
    runner.add_argument("--jobs", type=int, default=1, help="processes at once")
    runner.add_argument("--folder", action="append", choices=FOLDERS, help="these folders alone")
    runner.add_argument("--device", help="stop where fla.utils.device is another")
    merger = commands.add_parser("merge", help="add results of another file")
    merger.add_argument("more", type=Path, help="a file that run wrote")
    table = commands.add_parser("table", help="write docs/compatibility.md")
    for command in (runner, merger, table):
        command.add_argument("--results", type=Path, required=True, help="a JSON file outside the repository")
    given = parser.parse_args()
    if given.results.resolve().is_relative_to(ROOT):
        parser.error(f"--results: expected a file outside {ROOT}, got {given.results}")
    if given.command == "run":
        run(given.suite.resolve(), given.results.resolve(), given.minutes, given.only, given.again, given.group,
            tuple(given.folder or FOLDERS), given.jobs, given.device)
    elif given.command == "merge":
        merge(given.more, given.results)
    else:
        PAGE.write_text(page(_load(given.results), json.loads(NOTES.read_text(encoding="utf-8"))), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
