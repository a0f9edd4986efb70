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

from . import knobs

__all__ = ["native", "definitions_folder", "CompilerMissing"]

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


def _library() -> Path:
    chosen = knobs.get("library")
    if chosen and Path(chosen).is_file():
        return Path(chosen)
    return _first("libfla.so")


@lru_cache(maxsize=None)
def native():
    """The module `_fla`, with libfla open. Raises CompilerMissing."""
    path = _first("_fla" + sysconfig.get_config_var("EXT_SUFFIX"), also=[_PACKAGE])
    spec = importlib.util.spec_from_file_location("fla._fla", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    try:
        module.open(str(_library()))
    except RuntimeError as error:
        raise CompilerMissing(f"expected to open {_library()}, got: {error}") from None
    return module


def definitions_folder() -> Path:
    """The library of definitions: beside the package, or in the checkout."""
    installed = _PACKAGE / "definitions"
    return installed if installed.is_dir() else _CHECKOUT / "lib" / "Models"
