"""round_trip.py FLA_OPT FOLDER: every definition survives text and bytecode.

Prints the files that do not, with the compiler's message, and exits with 1.
"""
import subprocess
import sys
from pathlib import Path


def run(*command, text=b""):
    result = subprocess.run(command, input=text, capture_output=True)
    if result.returncode:
        raise RuntimeError(result.stderr.decode())
    return result.stdout


def problem(fla_opt, path):
    """What is wrong with the file at `path`, or None."""
    try:
        text = run(fla_opt, str(path))
        if run(fla_opt, "-", text=text) != text:
            return "printing what was printed gives something else"
        if run(fla_opt, "-", text=run(fla_opt, "--emit-bytecode", str(path))) != text:
            return "bytecode gives something else"
        if f"@{path.stem} state(".encode() not in text:
            return f"does not define @{path.stem}"
    except RuntimeError as error:
        return str(error)
    return None


def main(fla_opt, folder):
    paths = sorted(Path(folder).glob("*.mlir"))
    found = [(path, what) for path in paths if (what := problem(fla_opt, path))]
    for path, what in found:
        print(f"{path.name}: {what}")
    print(f"{len(paths) - len(found)} of {len(paths)} definitions survive")
    return 1 if found or not paths else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
