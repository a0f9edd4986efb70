"""Reads what a step takes from its Python signature."""

from __future__ import annotations

import inspect
import re
import types
import typing
from dataclasses import dataclass

from .annotations import Spec, State, StaticSpec
from .errors import DefinitionError

__all__ = ["Parameter", "read_signature", "REQUIRED"]

REQUIRED = inspect.Parameter.empty
_ASCII = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Keywords of a call that no argument may take the place of.
CALL_KEYWORDS = ("initial_state", "output_final_state", "cu_seqlens", "state_indices", "inplace_final_state", "form",
                 "chunk_size")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a step: role is state, token, param, value or static."""

    name: str
    role: str
    dims: tuple[str, ...] = ()
    init: float = 0.0
    optional: bool = False
    default: object = REQUIRED
    keyword_only: bool = False


def _where(step) -> str:
    code = step.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _reject(step, message: str) -> DefinitionError:
    return DefinitionError(f"{_where(step)}: {message}")


def _scope(step, frame) -> dict:
    """Names that a quoted annotation may use: the step's own and its maker's."""
    scope = dict(frame.f_locals) if frame is not None else {}
    scope = {**step.__globals__, **scope}
    for name, cell in zip(step.__code__.co_freevars, step.__closure__ or ()):
        try:
            scope[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return scope


def _evaluate(step, name: str, text: str, scope: dict):
    """A quoted annotation; ``State["M", init=-inf]`` is only possible in quotes."""
    scope = {"inf": float("inf"), "State": State, **scope}
    try:
        return eval(text, scope)
    except SyntaxError:
        called = re.sub(r"^\s*(\w+(?:\.\w+)*)\[(.*)\]\s*$", r"\1(\2)", text, flags=re.S)
        try:
            return eval(called, scope)
        except SyntaxError:
            raise _reject(step, f"the annotation of '{name}' is not an expression: {text!r}") from None
    except NameError as error:
        raise _reject(step, f"the annotation of '{name}' reads an unknown name: {error}; "
                            "dimensions can be written as strings, Vec[\"K\"]") from None


def _strip_none(annotation):
    """(annotation without None, whether it had None)."""
    if isinstance(annotation, Spec):
        return annotation, annotation.optional
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        optional = len(rest) < len(typing.get_args(annotation))
        return (rest[0] if len(rest) == 1 else annotation), optional
    return annotation, False


def _is_static(annotation) -> bool:
    if annotation in (int, bool, str, None, type(None)) or isinstance(annotation, StaticSpec):
        return True
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return True
    return origin in (typing.Union, types.UnionType) and all(
        a in (int, bool, str, type(None)) for a in typing.get_args(annotation))


def _from_default(step, p: inspect.Parameter):
    """The annotation that an unannotated keyword's default stands for."""
    if p.kind is p.KEYWORD_ONLY and p.default is not REQUIRED:
        return float if isinstance(p.default, float) else type(p.default)
    raise _reject(step, f"'{p.name}' has no annotation; expected State[...], Vec[...], Scalar or Param[...], "
                        "or int, bool, str, float or Static[float] for a keyword-only argument")


def _parameter(step, p: inspect.Parameter, annotation) -> Parameter:
    keyword = p.kind is p.KEYWORD_ONLY
    annotation, optional = _strip_none(annotation)
    if isinstance(annotation, Spec):
        if optional and p.default is REQUIRED:
            raise _reject(step, f"optional '{p.name}' needs a default: {p.name}: {annotation} = None")
        if p.default is not REQUIRED and p.default is not None:
            raise _reject(step, f"the default of '{p.name}' is {p.default!r}; expected None for an optional input")
        optional = optional or p.default is None
        if annotation.role == "state" and optional:
            raise _reject(step, f"state '{p.name}' cannot be optional")
        return Parameter(p.name, annotation.role, annotation.dims, annotation.init, optional, p.default, keyword)
    if annotation is float:
        return Parameter(p.name, "value", (), 0.0, optional, p.default, keyword)
    if _is_static(annotation):
        if not keyword:
            raise _reject(step, f"'{p.name}' is a Python value; expected it after * (keyword-only)")
        return Parameter(p.name, "static", default=p.default, optional=optional, keyword_only=True)
    raise _reject(step, f"'{p.name}' is annotated with {annotation!r}; expected State[...], Vec[...], Scalar or "
                        "Param[...], or int, bool, str, float or Static[float] for a keyword-only argument")


def read_signature(step, frame=None) -> list[Parameter]:
    """Parameters of a step, in its order. Quoted annotations also see `frame`'s names.

    Raises DefinitionError naming the parameter and what would be accepted.
    """
    scope, out = None, []
    for p in inspect.signature(step).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise _reject(step, f"'{p.name}' takes any number of arguments; a step names each of its arguments")
        if not _ASCII.fullmatch(p.name) or p.name in CALL_KEYWORDS:
            why = "which a call uses itself" if p.name in CALL_KEYWORDS else "expected ASCII letters and digits"
            raise _reject(step, f"'{p.name}' cannot name an argument: {why}")
        annotation = p.annotation
        if annotation is REQUIRED:
            annotation = _from_default(step, p)
        while isinstance(annotation, str):  # quoted, perhaps under postponed evaluation
            scope = scope or _scope(step, frame)
            try:
                annotation = _evaluate(step, p.name, annotation, scope)
            except DefinitionError:
                raise
            except (TypeError, ValueError) as error:
                raise _reject(step, f"the annotation of '{p.name}': {error}") from None
        out.append(_parameter(step, p, annotation))
    if not any(p.role == "token" for p in out):
        raise _reject(step, f"'{step.__name__}' has no per-token input; expected one such as q: Vec[\"K\"]")
    return out
