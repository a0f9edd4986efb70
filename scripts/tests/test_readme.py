"""What README.md shows works: its Python runs, its commands and files exist."""

import re
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "build" / "lib" / "libfla.so"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def test_python_of_the_readme_runs(tmp_path):
    shown = blocks(ROOT / "README.md", "python")
    assert shown
    # In a file: a step's source is read for its lines.
    script = tmp_path / "readme.py"
    script.write_text("\n".join(shown), encoding="utf-8")
    names = {"__name__": "readme", "__file__": str(script)}
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), names)
    assert isinstance(names["o"], torch.Tensor)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: expected {target} to exist"


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)`", page.read_text(encoding="utf-8")):
            assert re.search(rf"^{target}:", makefile, re.M), f"{page.name}: expected a target {target}"


@pytest.mark.skipif(not LIBRARY.is_file(), reason=f"needs {LIBRARY}, which `make build` makes")
def test_c_of_the_documentation_runs(tmp_path):
    [program] = blocks(ROOT / "docs" / "embedding.md", "c")
    (tmp_path / "embed.c").write_text(program, encoding="utf-8")
    subprocess.run(["clang-22", "-I", ROOT / "include", "embed.c", LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}", "-o", "embed"],
                   cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "embed"], capture_output=True, text=True)
    assert done.returncode == 0 and "o[99] = 1600" in done.stdout, done.stderr
