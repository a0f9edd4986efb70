"""Runs fla-check on the library and writes the table of README.md from its results.

    python scripts/support_table.py [--quick] [--print]

One row a definition: the largest error of each group of executors, over outputs,
states and gradients, or FAIL where a row exceeds its tolerance.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- support table: begin -->", "<!-- support table: end -->"

GATHERED = {
    "phases, f64": lambda r: r["phase"] in ("normalize", "chunk", "differentiate", "kernelize"),
    "CPU f64": lambda r: r["phase"] == "target" and r["dtype"] == "f64",
    "CPU f32, forward": lambda r: r["phase"] == "target" and r["dtype"] == "f32" and r["direction"] == "forward",
    "CPU f32, gradients": lambda r: r["phase"] == "target" and r["dtype"] == "f32" and r["direction"] == "backward",
    "bf16": lambda r: r["phase"] == "target" and r["dtype"] == "bf16",
    "f16": lambda r: r["phase"] == "target" and r["dtype"] == "f16",
}


def check(stem: str, quick: bool) -> list[dict]:
    """Rows of fla-check for a definition of the library; none if it could not be checked."""
    command = [ROOT / "build" / "bin" / "fla-check", "--json", *(["--quick"] if quick else []),
               ROOT / "lib" / "Models" / f"{stem}.mlir"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return []


def cell(rows: list[dict]) -> str:
    if not rows:
        return "-"
    if not all(row["pass"] for row in rows):
        return "FAIL"
    return f"{max(row['error'] for row in rows):.0e}"


def descriptions() -> dict[str, tuple[str, str]]:
    """{stem: (class, paper)} from the tables of docs/definitions.md, in their order."""
    found = {}
    for line in (ROOT / "docs" / "definitions.md").read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split(" | ")]
        name = re.match(r"\[`(\w+)`\]", cells[0])
        if name and len(cells) == 5:
            found[name.group(1)] = (cells[2], cells[4])
    return found


def table(quick: bool) -> list[str]:
    lines = ["| definition | class | " + " | ".join(GATHERED) + " |", "|---|---|" + "---|" * len(GATHERED)]
    for stem, (kind, _) in descriptions().items():
        rows = check(stem, quick)
        cells = [cell([r for r in rows if chosen(r)]) for chosen in GATHERED.values()]
        lines.append(f"| [`{stem}`](lib/Models/{stem}.mlir) | {kind} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return lines


def replace(lines: list[str]) -> None:
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    README.write_text(head + "\n".join([BEGIN, *lines, END]) + rest.split(END)[1], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few inputs instead of all")
    parser.add_argument("--print", action="store_true", help="leave README.md as it is")
    given = parser.parse_args()
    lines = table(given.quick)
    if not given.print:
        replace(lines)


if __name__ == "__main__":
    main()
