"""The Python side's knobs: one documented row each, nothing else reads the environment.

A knob is set by its environment variable before the first use, or for a while
with ``with fla.knobs.override(states="save"): ...``.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

__all__ = ["Knob", "ROWS", "get", "override", "cache_directory"]


@dataclass(frozen=True)
class Knob:
    """A row: its name in Python, its environment variable, default and meaning."""

    name: str
    variable: str
    default: str
    meaning: str
    choices: tuple[str, ...] = ()


ROWS = (
    Knob("library", "FLA_LIBRARY", "", "path of libfla, or of the folder that holds it, instead of the package's own"),
    Knob("states", "FLA_STATES", "auto", "what a training forward keeps: 'save' the chunk states for the backward, "
         "'recompute' them there, or 'auto': save while they take no more memory than the inputs do",
         ("auto", "save", "recompute")),
    Knob("ahead", "FLA_COMPILE_AHEAD", "1", "1: the backward of a first training call on a GPU is compiled and loaded by "
         "another thread while the forward is; 0: when it is needed", ("0", "1")),
    Knob("disable_tensor_cache", "FLA_DISABLE_TENSOR_CACHE", "0", "1: fla.utils.tensor_cache remembers nothing",
         ("0", "1")),
)
_BY_NAME = {row.name: row for row in ROWS}
_OVERRIDES: dict[str, str] = {}
_READ: dict[str, str] = {}  # values since the last override began or ended


def get(name: str) -> str:
    """The value of a knob. Raises ValueError for a value that it does not take."""
    value = _READ.get(name)
    return _READ.setdefault(name, _read(name)) if value is None else value


def _read(name: str) -> str:
    row = _BY_NAME[name]
    value = _OVERRIDES.get(name) or os.environ.get(row.variable) or row.default
    if row.choices and value not in row.choices:
        raise ValueError(f"expected one of {', '.join(row.choices)} for {row.variable}, got {value!r}")
    return value


@contextlib.contextmanager
def override(**values: str):
    """Sets knobs inside a ``with`` block. Raises ValueError for an unknown knob."""
    for name in values:
        if name not in _BY_NAME:
            raise ValueError(f"expected a knob ({', '.join(_BY_NAME)}), got {name!r}")
    before = dict(_OVERRIDES)
    _OVERRIDES.update(values)
    _READ.clear()
    try:
        yield
    finally:
        _OVERRIDES.clear()
        _OVERRIDES.update(before)
        _READ.clear()


def cache_directory() -> str:
    """Where compiled code is kept: FLA_CACHE_DIR, else ``fla`` in the user's cache, as libfla has it."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("FLA_CACHE_DIR") or os.path.join(base, "fla")
