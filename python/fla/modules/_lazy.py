"""Attributes of a module that are imported when they are first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["lazy_attributes"]


def lazy_attributes(module: str, places: dict[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for ``module`` that finds each name in the file beside it that ``places`` gives."""

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{module.rpartition('.')[0]}.{places[name]}"), name)

    return find
