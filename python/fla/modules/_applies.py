"""Classes with ``apply``, for code that calls an operator as an autograd function."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["applies"]


def applies(name: str, function: Callable, module: str) -> type:
    """A class ``name`` whose ``apply`` is ``function``, which PyTorch's autograd differentiates itself."""
    return type(name, (), {"apply": staticmethod(function), "__module__": module,
                           "__doc__": f"``apply`` is {function.__name__.lstrip('_')}."})
