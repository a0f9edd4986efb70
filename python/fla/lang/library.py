"""The library of definitions: ``load("gla")`` reads lib/Models/gla.mlir."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from .._native import definitions_folder
from .definition import Argument, Definition, parse_definition
from .recurrence import Recurrence
from .signature import REQUIRED, Parameter

__all__ = ["Loaded", "load", "available"]


class Loaded(Recurrence):
    """A recurrence from a .mlir file."""

    def __init__(self, stem: str, definition: Definition):
        self._definition, self.stem = definition, stem
        states = [Parameter(s.name, "state", s.dims, s.init) for s in definition.states]
        super().__init__(definition.name, states + [_parameter(a) for a in definition.arguments])

    def _trace(self, statics: dict, present: frozenset):
        absent = tuple(p.name for p in self.parameters if p.optional and p.name not in present)
        return self._definition, absent

    def _inline(self, args: tuple, kwargs: dict):
        from .inline import inline_definition
        return inline_definition(self._definition, args, kwargs)

    def __reduce__(self):
        return load, (self.stem,)


def _parameter(a: Argument) -> Parameter:
    if a.kind == "value":
        return Parameter(a.name, "value", default=a.attrs.get("default", REQUIRED))
    return Parameter(a.name, a.kind, a.dims, optional=a.optional, default=None if a.optional else REQUIRED)


def _indexed_sizes(definition: Definition) -> dict[str, int]:
    """Sizes of axes that the operations index: ``fla.index %k[1]`` makes two of them."""
    dims = {f"%{a.name}": a.dims for a in definition.arguments}
    sizes: dict[str, int] = {}
    for statement in definition.body:
        match = re.match(r"fla\.index\s+(%[\w$.-]+)\[(\d+)\]", statement.rest)
        if match and match.group(1) in dims:
            axis = dims[match.group(1)][0]
            sizes[axis] = max(sizes.get(axis, 0), int(match.group(2)) + 1)
    return sizes


def available() -> list[str]:
    """Stems of the library's definitions."""
    return sorted(path.stem for path in definitions_folder().glob("*.mlir"))


def load(stem: str) -> Loaded:
    """A definition of the library by its file's stem, or of a .mlir file by its path.

    Raises ValueError for a name that the library does not have.
    """
    # A plain dictionary: torch.compile traces a definition that was loaded before.
    found = _LOADED.get(stem)
    return found if found is not None else _LOADED.setdefault(stem, _read(stem))


_LOADED: dict[str, Loaded] = {}


def _read(stem: str) -> Loaded:
    path = Path(stem) if str(stem).endswith(".mlir") else definitions_folder() / f"{stem}.mlir"
    if not path.is_file():
        close = difflib.get_close_matches(stem, available(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(f"load: expected one of {', '.join(available())}, got {stem!r}{hint}")
    text = path.read_text(encoding="utf-8")
    definition = parse_definition(text, source=str(path))
    sizes = _indexed_sizes(definition)
    return Loaded(str(stem), parse_definition(text, sizes, source=str(path)) if sizes else definition)
