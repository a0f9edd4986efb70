"""What a step's arguments are: State, Vec, Scalar, Param, Static.

    S: State["K", "V"]           carried from token to token, [N, H, K, V]
    z: State["M"](init=-inf)     another start than zero
    q: Vec["K"]                  per token, [B, T, H, K]
    g: Scalar                    per token, [B, T, H]
    A: Param["D", "N"]           per head, no time axis, [H, D, N]
    u: Param[()]                 per head, [H]
    w: Vec["K"] | None = None    an optional input

Python's subscripts take no keywords; a start can also be written
``State("M", init=-inf)``, or ``'State["M", init=-inf]'`` in quotes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .dimensions import canonical, primed

__all__ = ["Spec", "StaticSpec", "State", "Vec", "Scalar", "Param", "Static"]


@dataclass(frozen=True)
class Spec:
    """One argument: its role (state, token, param), dimensions, start and optionality."""

    role: str
    dims: tuple[str, ...] = ()
    init: float = 0.0
    optional: bool = False

    def __or__(self, other):
        if other is None or other is type(None):
            return replace(self, optional=True)
        return NotImplemented

    __ror__ = __or__

    def __call__(self, *, init: float) -> "Spec":
        if self.role != "state":
            raise TypeError(f"expected a State to give a start to, got {self}")
        return replace(self, init=_start(init))

    def __str__(self) -> str:
        name = {"state": "State", "token": "Vec", "param": "Param"}[self.role]
        if self.role == "token" and not self.dims:
            return "Scalar"
        inner = ", ".join(f'"{d}"' for d in self.dims) or "()"
        start = f"(init={self.init})" if self.init else ""
        return f"{name}[{inner}]{start}" + (" | None" if self.optional else "")


@dataclass(frozen=True)
class StaticSpec:
    """A Python value that is part of the kernel."""

    of: object = object


def _start(value) -> float:
    value = float(value)
    if math.isnan(value):
        raise ValueError("expected a start that is a number, got nan")
    return value


def _names(items, what: str) -> tuple[str, ...]:
    items = items if isinstance(items, tuple) else (items,)
    names = []
    for item in items:
        name = canonical(item)
        if name in names:
            if what != "State" or len(items) != 2:
                raise ValueError(f"expected distinct dimensions, got {what}[{', '.join(map(str, items))}]")
            name = primed(name)
        names.append(name)
    return tuple(names)


class _Factory:
    """Makes specs by subscript, and by call for a State's start."""

    def __init__(self, name: str, role: str, minimum: int, maximum: int):
        self._name, self._role, self._minimum, self._maximum = name, role, minimum, maximum

    def _make(self, items, init: float = 0.0) -> Spec:
        items = items if isinstance(items, tuple) else (items,)
        plain = []
        for item in items:
            if isinstance(item, slice) and item.start == "init" and self._role == "state":
                init = item.stop
            else:
                plain.append(item)
        names = _names(tuple(plain), self._name)
        if not self._minimum <= len(names) <= self._maximum:
            raise ValueError(f"expected {self._minimum} to {self._maximum} dimensions in {self._name}[...], "
                             f"got {len(names)}")
        return Spec(self._role, names, _start(init))

    def __getitem__(self, items) -> Spec:
        return self._make(items)

    def __call__(self, *items, init: float = 0.0) -> Spec:
        return self._make(items, init)

    def __repr__(self) -> str:
        return f"fla.lang.{self._name}"


class _Static:
    """``Static[float]``: a value that is part of the kernel."""

    def __getitem__(self, of) -> StaticSpec:
        return StaticSpec(of)

    def __repr__(self) -> str:
        return "fla.lang.Static"


State = _Factory("State", "state", 0, 2)
Vec = _Factory("Vec", "token", 0, 4)
Param = _Factory("Param", "param", 0, 4)
Scalar = Spec("token")
Static = _Static()
