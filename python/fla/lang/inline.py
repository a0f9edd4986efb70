"""Calls of a definition inside a step: its operations on the caller's values.

A definition that was written in Python is traced again on the values; a loaded
one is copied, operation by operation, with the caller's names and dimensions.
Both are called as their step is: states first, then inputs; the next states and
the outputs come back.
"""

from __future__ import annotations

import re

from .builder import current, dims_attribute
from .definition import Argument, Definition, parse_dims
from .dimensions import canonical, substitute
from .errors import refuse
from .functions import assume
from .values import Value, broadcast, describe, lift

__all__ = ["inline_definition"]


def _unify(name: str, dims: tuple[str, ...], value: Value, renaming: dict[str, str]) -> Value:
    """Matches an argument's dimensions with a value's, filling `renaming`."""
    if not value.dims and dims:
        return value
    if len(value.dims) != len(dims):
        raise refuse(f"argument '{name}' has dimensions {', '.join(dims) or '(none)'}, got {describe(value)}")
    for mine, theirs in zip(dims, value.dims):
        if re.fullmatch(r"\w+", mine) and renaming.setdefault(mine, theirs) != theirs:
            raise refuse(f"dimensions are mixed: argument '{name}' needs {mine} = {renaming[mine]}, "
                         f"got {describe(value)}")
    return value


def _renamed(dims: tuple[str, ...], renaming: dict[str, str]) -> tuple[str, ...]:
    return tuple(canonical(substitute(d, renaming)) for d in dims)


def _default(argument: Argument, name: str):
    if "default" not in argument.attrs:
        raise refuse(f"'{name}' misses argument '{argument.name}'")
    return argument.attrs["default"]


def _operands(definition: Definition, args: tuple, kwargs: dict) -> list[tuple[Value, bool]]:
    """(value, whether it was traced) for the states and arguments, defaults filled in."""
    slots = [*definition.states, *definition.arguments]
    if len(args) > len(slots):
        raise refuse(f"'{definition.name}' takes {len(slots)} values inside a step, its states first, "
                     f"got {len(args)}")
    named = {slot.name: value for slot, value in zip(slots, args)}
    for name, value in kwargs.items():
        if name in named or name not in {s.name for s in slots}:
            raise refuse(f"'{definition.name}' takes no {'second ' if name in named else ''}argument '{name}'; "
                         f"expected {', '.join(s.name for s in slots)}")
        named[name] = value
    out = []
    for slot in slots:
        value = named.get(slot.name)
        if value is None:
            if not isinstance(slot, Argument):
                raise refuse(f"'{definition.name}' misses state '{slot.name}'; inside a step the states come first")
            value = _default(slot, definition.name)
        out.append((lift(value), isinstance(value, Value)))
    return out


def _promise(argument: Argument, value: Value) -> Value:
    """What the callee's header says of its argument, said of the value."""
    low, high = argument.attrs.get("min"), argument.attrs.get("max")
    unit = bool(argument.attrs.get("unit")) and bool(value.dims)
    if low is None and high is None and not unit:
        return value
    return assume(value, low, high, unit=unit)


def inline_definition(definition: Definition, args: tuple, kwargs: dict) -> tuple[Value, ...] | Value:
    """(*next states, *outputs) of a loaded definition on traced values; a single one as it is."""
    slots = [*definition.states, *definition.arguments]
    renaming: dict[str, str] = {}
    values = [(_unify(s.name, s.dims, v, renaming), traced)
              for s, (v, traced) in zip(slots, _operands(definition, args, kwargs))]
    builder, known = current(), {}
    for slot, (value, traced) in zip(slots, values):
        value = broadcast(value, _renamed(slot.dims, renaming)) if not value.dims else value
        if isinstance(slot, Argument) and traced:
            value = _promise(slot, value)
        known[f"%{slot.name}"] = value.ssa
    for statement in definition.body:
        text = re.sub(r"%[\w$.-]+", lambda m: known[m.group(0)], statement.rest)
        text = re.sub(r"#fla\.dims<([^>]*)>",
                      lambda m: dims_attribute(_renamed(parse_dims(m.group(1)), renaming)), text)
        operands = tuple(known[o] for o in statement.operands)
        known[statement.result] = builder.emit(text, operands)
    nexts = [Value(known[v], _renamed(s.dims, renaming), state=True)
             for v, s in zip(definition.next_states, definition.states)]
    outputs = [Value(known[v], _renamed(d, renaming)) for v, d in zip(definition.results, definition.outputs)]
    return (*nexts, *outputs) if nexts or len(outputs) > 1 else outputs[0]
