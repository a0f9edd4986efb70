"""Finds and opens the compiler: the module `_fla` and the library libfla.

An installed package holds both. In a checkout they are in a build folder:
``build/lib`` beside ``python``, or where FLA_LIBRARY points.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

from . import _shim, knobs
from ._identity import require

__all__ = ["native", "library_path", "definitions_folder", "CompilerMissing"]

require()

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent


class CompilerMissing(ImportError):
    """libfla or its Python module is not there."""


def _folders() -> list[Path]:
    """Where the compiler can be, best first."""
    chosen = knobs.get("library")
    if chosen:
        path = Path(chosen)
        return [path if path.is_dir() else path.parent]
    return [_PACKAGE, _CHECKOUT / "build" / "lib"]


def _first(name: str, also: list[Path] = ()) -> Path:
    folders = [*_folders(), *also]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise CompilerMissing(f"expected {name} in {' or '.join(map(str, folders))}; build the project, or point "
                          "FLA_LIBRARY at the libfla.so to use")


def library_path() -> Path:
    """The libfla.so to open. Raises CompilerMissing."""
    chosen = knobs.get("library")
    if chosen and Path(chosen).is_file():
        return Path(chosen)
    return _first("libfla.so")


def _binding() -> Path:
    """The module `_fla` for this Python, built now if the package brings none."""
    name = "_fla" + sysconfig.get_config_var("EXT_SUFFIX")
    try:
        return _first(name, also=[_PACKAGE])
    except CompilerMissing as missing:
        if not (_PACKAGE / "native").is_dir():
            raise
        try:
            return _shim.build()
        except _shim.CannotBuild as why:
            raise CompilerMissing(f"{missing}; building {name} here: {why}") from None


@lru_cache(maxsize=None)
def native():
    """The module `_fla`, with libfla open. Raises CompilerMissing."""
    path = _binding()
    spec = importlib.util.spec_from_file_location("fla._fla", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    try:
        module.open(str(library_path()))
    except RuntimeError as error:
        raise CompilerMissing(f"expected to open {library_path()}, got: {error}") from None
    return module


def definitions_folder() -> Path:
    """The library of definitions: beside the package, or in the checkout."""
    installed = _PACKAGE / "definitions"
    return installed if installed.is_dir() else _CHECKOUT / "lib" / "Models"
