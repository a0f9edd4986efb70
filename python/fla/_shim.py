"""Builds the module `_fla` for a Python that the package brings none for.

One source file and one call of the compiler, some seconds, once: the result
stays in the user's cache. It needs a C++ compiler, Python's headers and pybind11's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from . import knobs

__all__ = ["build", "command", "CannotBuild"]

_SOURCES = Path(__file__).resolve().parent / "native"


class CannotBuild(Exception):
    """What is missing, in words."""


def _compiler() -> str:
    named = shlex.split(sysconfig.get_config_var("CXX") or "")[:1]
    for name in [*named, "c++", "g++", "clang++"]:
        path = shutil.which(name)
        if path:
            return path
    raise CannotBuild("expected a C++ compiler (c++, g++ or clang++) on the PATH, got none")


def _python_headers() -> Path:
    folder = Path(sysconfig.get_paths()["include"])
    if not (folder / "Python.h").is_file():
        raise CannotBuild(f"expected Python's headers (python{sys.version_info[0]}.{sys.version_info[1]}-dev), "
                          f"got no {folder / 'Python.h'}")
    return folder


def _pybind11_headers() -> Path:
    spec = importlib.util.find_spec("pybind11")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "include" / "pybind11" / "pybind11.h").is_file():
            return Path(place) / "include"
    raise CannotBuild("expected the Python package pybind11 (pip install pybind11), got none")


def command(output: Path) -> list[str]:
    """The compiler's command line. Raises CannotBuild."""
    sources = sorted(str(path) for path in _SOURCES.glob("*.cpp"))
    if not sources:
        raise CannotBuild(f"expected the binding's source in {_SOURCES}, got none")
    return [_compiler(), "-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden",
            f"-I{_SOURCES / 'include'}", f"-I{_python_headers()}", f"-I{_pybind11_headers()}",
            *sources, "-ldl", "-o", str(output)]


def _cache_folder() -> Path:
    """A folder that its owner alone can write to: code is loaded from it."""
    folder = Path(knobs.cache_directory())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise CannotBuild(f"expected a cache folder of this user's, got {folder}")
    folder.chmod(0o700)
    return folder


def _key() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(_SOURCES.rglob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build() -> Path:
    """The module built for this Python, from the cache if it was built before. Raises CannotBuild."""
    path = None
    try:
        folder = _cache_folder()
        path = folder / f"binding-{_key()}" / ("_fla" + sysconfig.get_config_var("EXT_SUFFIX"))
        if path.is_file():
            return path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / path.name
            done = subprocess.run(command(made), capture_output=True, text=True)
            if done.returncode != 0:
                raise CannotBuild("expected the binding to compile, got:\n" + done.stderr[-2000:])
            os.replace(made, path)  # several processes may build at once; each leaves the same
    except OSError as error:
        raise CannotBuild(f"expected to write {path or 'the cache folder'}, got: {error}") from None
    return path
