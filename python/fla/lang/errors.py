"""Errors of the language, at the user's line."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import threading
from typing import NamedTuple

__all__ = ["DefinitionError", "Location", "here", "at_return", "refuse"]

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class DefinitionError(ValueError):
    """A step that is not a recurrence of the language, with the place and the remedy."""


class Location(NamedTuple):
    """A place in the user's source; columns count from 1, 0 when unknown."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")

    def mlir(self) -> str:
        quoted = self.file.replace("\\", "\\\\").replace('"', '\\"')
        return f'loc("{quoted}":{self.line}:{max(self.column, 1)})'

    def source(self) -> str | None:
        """The expression at this place, when its text is at hand."""
        if not self.column or self.line != self.end_line:
            return None
        line = linecache.getline(self.file, self.line)
        # Columns count UTF-8 bytes.
        text = line.encode()[self.column - 1:self.end_column - 1].decode(errors="ignore").strip()
        return text or None


def _positions(frame) -> tuple[int, int, int]:
    """(column, end line, end column) of the running instruction, zeros when unknown."""
    code = frame.f_code
    if not hasattr(code, "co_positions"):
        return 0, 0, 0
    index = frame.f_lasti // 2
    for i, (_, end_line, column, end_column) in enumerate(code.co_positions()):
        if i == index:
            if column is None or end_column is None:
                return 0, 0, 0
            return column + 1, end_line or 0, end_column + 1
    return 0, 0, 0


_FIXED = threading.local()


@contextlib.contextmanager
def at_return(step):
    """Inside, `here` is the step's return: what is judged after the step has run."""
    code = step.__code__
    line = max((line for *_, line in code.co_lines() if line), default=code.co_firstlineno)
    _FIXED.location = Location(code.co_filename, line, 0, line, 0)
    try:
        yield
    finally:
        _FIXED.location = None


def here() -> Location:
    """The innermost place outside this package: the user's line."""
    if getattr(_FIXED, "location", None) is not None:
        return _FIXED.location
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    column, end_line, end_column = _positions(frame)
    return Location(frame.f_code.co_filename, frame.f_lineno or 0, column, end_line, end_column)


def refuse(message: str, location: Location | None = None) -> DefinitionError:
    """An error to raise, prefixed by the user's file and line."""
    return DefinitionError(f"{location or here()}: {message}")
