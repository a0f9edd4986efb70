"""Emits the text of a step, one operation at a time."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass, field

from .errors import Location, here, refuse

__all__ = ["Builder", "current", "type_of", "dims_attribute", "number", "attributes"]

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ACTIVE = threading.local()


def dims_attribute(dims: tuple[str, ...]) -> str:
    names = ", ".join(d if _BARE.fullmatch(d) else f'"{d}"' for d in dims)
    return f"#fla.dims<{names}>"


def type_of(dims: tuple[str, ...], element: str = "f64") -> str:
    """MLIR type of a value: a number, or a tensor with named dimensions."""
    return f"tensor<{'?x' * len(dims)}{element}, {dims_attribute(dims)}>" if dims else element


def number(value: float) -> str:
    """A float literal; MLIR wants a point in it and spells infinities in bits."""
    value = float(value)
    if math.isinf(value) or math.isnan(value):
        return {math.inf: "0x7FF0000000000000", -math.inf: "0xFFF0000000000000"}.get(value, "0x7FF8000000000000")
    mantissa, mark, exponent = repr(value).partition("e")
    return mantissa + ("" if "." in mantissa else ".0") + mark + exponent


def attributes(entries: dict) -> str:
    """`` {max = 0.0 : f64, unit}``, or nothing: units are True, the rest numbers."""
    shown = [name if value is True else f"{name} = {number(value)} : f64" for name, value in entries.items()]
    return " {" + ", ".join(shown) + "}" if shown else ""


@dataclass
class Op:
    """One emitted operation; `plain` is how it reads where no state follows from it."""

    result: str
    text: str
    operands: tuple[str, ...]
    location: Location
    plain: tuple[str, tuple[str, ...]] | None = None


@dataclass
class Builder:
    """The operations of the step being traced, and what is known of its arguments."""

    name: str
    ops: list[Op] = field(default_factory=list)
    domains: dict[str, dict] = field(default_factory=dict)
    static_sizes: dict[str, int] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> "Builder":
        self._outer = getattr(_ACTIVE, "builder", None)
        _ACTIVE.builder = self
        return self

    def __exit__(self, *_):
        _ACTIVE.builder = self._outer

    def emit(self, text: str, operands: tuple[str, ...], plain: tuple[str, tuple[str, ...]] | None = None,
             location: Location | None = None) -> str:
        """Appends ``%n = text`` and returns ``%n``."""
        result = f"%{len(self.ops)}"
        self.ops.append(Op(result, text, operands, location or here(), plain))
        return result

    def constant(self, value: float) -> str:
        literal = number(value)
        if literal not in self.constants:
            self.constants[literal] = self.emit(f"arith.constant {literal} : f64", ())
        return self.constants[literal]

    def live(self, roots: list[str]) -> set[str]:
        """Results that `roots` depend on."""
        seen = set(roots)
        for op in reversed(self.ops):
            if op.result in seen:
                seen.update(op.operands)
        return seen

    def finish(self, states: list[str], outputs: list[str]) -> list[Op]:
        """Operations that matter, products that reach no state spelled plainly."""
        fed = self.live(states)
        for op in self.ops:
            if op.plain and op.result not in fed:
                op.text, op.operands = op.plain
        needed = self.live(states + outputs)
        return [op for op in self.ops if op.result in needed]


def current() -> Builder:
    """The builder of the step being traced. Raises DefinitionError outside a step."""
    builder = getattr(_ACTIVE, "builder", None)
    if builder is None:
        raise refuse("a value of a step is used outside the step that it belongs to; "
                     "return it as an output instead")
    return builder
