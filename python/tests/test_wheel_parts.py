"""What a wheel needs of the package: the check that `fla` is ours, the module built at need."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fla
from fla import _shim

PACKAGE = Path(fla.__file__).parent
ROOT = PACKAGE.parents[1]


def run(folder: Path, code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=folder,
                          env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"})


@pytest.fixture
def copy(tmp_path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "fla", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("module", ["fla.lang", "fla._native"])
def test_another_fla_is_refused(copy, module):
    (copy / "fla" / "__init__.py").write_text("__version__ = '0.6.0'\n")
    done = run(copy, f"import {module}")
    assert "ImportError: expected the package fla of fla-compiler, got the one at" in done.stderr
    assert "\n  pip uninstall -y flash-linear-attention fla-core\n  pip install --force-reinstall --no-deps fla-compiler\n" in done.stderr


def test_a_removed_init_is_noticed(copy):
    (copy / "fla" / "__init__.py").unlink()
    assert "got a folder without an __init__.py" in run(copy, "import fla.lang").stderr


def test_ours_is_accepted(copy):
    done = run(copy, "import fla.lang, fla._native; print('accepted')")
    assert done.stdout == "accepted\n", done.stderr


def test_the_binding_builds_for_this_python(tmp_path, monkeypatch):
    pytest.importorskip("pybind11")
    sources = tmp_path / "native"
    shutil.copytree(ROOT / "python" / "native", sources)
    shutil.copytree(ROOT / "include" / "fla-c", sources / "include" / "fla-c")
    monkeypatch.setattr(_shim, "_SOURCES", sources)
    monkeypatch.setenv("FLA_CACHE_DIR", str(tmp_path / "cache"))
    try:
        path = _shim.build()
    except _shim.CannotBuild as why:
        if "expected the binding to compile" in str(why):
            raise
        pytest.skip(str(why))
    assert path.is_file() and _shim.build() == path
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [path.parent.name]


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(_shim, "_SOURCES", tmp_path)
    with pytest.raises(_shim.CannotBuild, match="expected the binding's source"):
        _shim.command(tmp_path / "out.so")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(_shim, "_SOURCES", ROOT / "python" / "native")
    with pytest.raises(_shim.CannotBuild, match="a C\\+\\+ compiler"):
        _shim.command(tmp_path / "out.so")
