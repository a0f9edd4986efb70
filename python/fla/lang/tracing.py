"""Traces a step once, with symbolic values, into a definition."""

from __future__ import annotations

import re

from .builder import Builder, attributes, number, type_of
from .definition import Definition, parse_definition
from .errors import DefinitionError, at_return, refuse
from .signature import Parameter
from .values import Value, broadcast, describe, lift, plain, _ordered

__all__ = ["trace", "bind_step", "split_results"]


def _symbol(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "step"


def _argument(builder: Builder, p: Parameter) -> Value:
    builder.domains[f"%{p.name}"] = {} if p.role != "state" else None
    return Value(f"%{p.name}", p.dims, name=p.name, state=p.role == "state")


def _declare(p: Parameter, builder: Builder) -> str:
    """``%k : type {unit}``: one argument of the header."""
    entries: dict = {}
    if p.role == "state" and p.init != 0.0:
        entries["init"] = p.init
    if p.role in ("param", "value"):
        entries[p.role] = True
    if p.role == "value" and isinstance(p.default, (int, float)) and not isinstance(p.default, bool):
        entries["default"] = float(p.default)
    entries.update(builder.domains.get(f"%{p.name}") or {})
    return f"%{p.name} : {type_of(p.dims)}{attributes(entries)}"


def bind_step(parameters: list[Parameter], statics: dict, present: frozenset[str]) -> tuple[list, dict]:
    """Traced values for the step's positional and keyword-only parameters."""
    from .builder import current
    positional, keywords = [], {}
    for p in parameters:
        if p.role == "static":
            value = statics[p.name]
        elif p.role != "state" and p.optional and p.name not in present:
            value = None
        else:
            value = _argument(current(), p)
        if p.keyword_only:
            keywords[p.name] = value
        else:
            positional.append(value)
    return positional, keywords


def split_results(returned, count: int, name: str) -> tuple[list, list]:
    """(next states, outputs) of ``return S, o``, ``return (S, z), o`` or ``return S, z, o``; of ``return o`` without states."""
    if count == 0:
        return [], _outputs_alone(returned, name)
    if not isinstance(returned, tuple) or len(returned) < 2:
        raise refuse(f"'{name}' returns {_shape(returned)}; expected its next state{'s' if count > 1 else ''} and "
                     f"at least one output: return {'(' * (count > 1)}S{', z)' if count > 1 else ''}, o")
    flat = list(returned)
    if isinstance(flat[0], tuple):
        flat = [*flat[0], *flat[1:]]
    if len(flat) <= count:
        raise refuse(f"'{name}' returns {len(flat)} values; expected {count} next "
                     f"state{'s' if count > 1 else ''} and at least one output")
    if isinstance(flat[-1], tuple):
        flat = [*flat[:-1], *flat[-1]]
    return flat[:count], flat[count:]


def _outputs_alone(returned, name: str) -> list:
    """Outputs of a step without states."""
    outputs = list(returned) if isinstance(returned, tuple) else [] if returned is None else [returned]
    if not outputs:
        raise refuse(f"'{name}' returns {_shape(returned)}; expected at least one output: return o")
    return outputs


def _shape(x) -> str:
    return f"{len(x)} value" if isinstance(x, tuple) else describe(x) if x is not None else "nothing"


def _next_state(value, p: Parameter) -> Value:
    value = plain(lift(value))
    if set(value.dims) - set(p.dims):
        raise refuse(f"the next value of state '{p.name}' is {describe(value)}; "
                     f"expected dimensions {', '.join(p.dims) or '(none)'}")
    return _ordered(value, p.dims) if len(value.dims) == len(p.dims) else broadcast(value, p.dims)


def _print(name: str, parameters: list[Parameter], builder: Builder, body: list,
           nexts: list[Value], results: list[Value], located: bool) -> str:
    states = ", ".join(_declare(p, builder) for p in parameters if p.role == "state")
    inputs = ", ".join(_declare(p, builder) for p in parameters if p.role in ("token", "param", "value"))
    lines = [f"fla.recurrence @{name} state({states}) ({inputs}) {{"]
    for op in body:
        where = f" {op.location.mlir()}" if located else ""
        lines.append(f"  {op.result} = {op.text}{where}")
    types = ", ".join(type_of(v.dims) for v in (*nexts, *results))
    carried = f"state({', '.join(v.ssa for v in nexts)}) " if nexts else ""
    lines.append(f"  fla.yield {carried}outputs({', '.join(v.ssa for v in results)}) : {types}")
    return "\n".join([*lines, "}", ""])


def _sizes(parameters: list[Parameter], statics: dict) -> dict[str, int]:
    """Sizes that static ints give to the dimensions that they name."""
    sizes = {k: v for k, v in statics.items() if isinstance(v, int) and not isinstance(v, bool)}
    used = {d for p in parameters for d in p.dims}
    for name, size in sizes.items():
        if name in used and size < 1:
            raise DefinitionError(f"expected a positive size for dimension {name}, got {size}")
    return {name: size for name, size in sizes.items() if name in used}


def trace(step, parameters: list[Parameter], statics: dict, present: frozenset[str]) -> Definition:
    """Runs `step` once on symbolic values and returns what it does.

    Raises DefinitionError, at the user's line, for what a recurrence cannot do.
    """
    kept = [p for p in parameters if p.role != "static" and
            (p.role == "state" or not p.optional or p.name in present)]
    states = [p for p in kept if p.role == "state"]
    builder = Builder(_symbol(step.__name__), static_sizes=_sizes(parameters, statics))
    with builder:
        positional, keywords = bind_step(parameters, statics, present)
        returned = step(*positional, **keywords)
        with at_return(step):
            nexts, results = split_results(returned, len(states), step.__name__)
            nexts = [_next_state(v, p) for v, p in zip(nexts, states)]
            results = [plain(lift(v)) for v in results]
        body = builder.finish([v.ssa for v in nexts], [v.ssa for v in results])
    text = _print(builder.name, kept, builder, body, nexts, results, located=False)
    located = _print(builder.name, kept, builder, body, nexts, results, located=True)
    return parse_definition(text, builder.static_sizes, located)
