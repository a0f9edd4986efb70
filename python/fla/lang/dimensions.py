"""Named dimensions and their expressions.

A dimension is a name (``K``), a size (``4``) or a polynomial of names
(``2*R``, ``1 + D + D*D``). Expressions are kept in one canonical spelling, so
that two ways of writing a dimension are the same dimension. A prime (``K'``)
marks the second axis of a square state: another axis of the same size.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache

__all__ = ["Dim", "dims", "canonical", "evaluate", "names_in", "substitute", "primed", "unprimed",
           "product", "total", "solve_sizes"]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*'*")
RESERVED = ("tokens", "past")
_PRIME = "__prime__"


class Dim(str):
    """A dimension name that also does arithmetic: ``2 * R``, ``1 + D + D * D``."""

    def _with(self, other, pattern: str) -> "Dim":
        if not isinstance(other, (int, str)):
            return NotImplemented
        return Dim(canonical(pattern.format(self, other)))

    def __add__(self, other):
        return self._with(other, "({0}) + ({1})")

    def __radd__(self, other):
        return self._with(other, "({1}) + ({0})")

    def __mul__(self, other):
        return self._with(other, "({0}) * ({1})")

    __rmul__ = __mul__

    def __pow__(self, other):
        return self._with(other, "({0}) ** {1}")


def dims(*names: str) -> Dim | tuple[Dim, ...]:
    """Dimension objects for annotations: ``K, V = dims("K", "V")``.

    One string may hold several names separated by spaces or commas.
    """
    split = [n for name in names for n in re.split(r"[\s,]+", name.strip()) if n]
    made = tuple(Dim(canonical(name)) for name in split)
    return made[0] if len(made) == 1 else made


# A polynomial is {sorted tuple of names: coefficient}.
Polynomial = dict


def _multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    out: Polynomial = {}
    for names_a, factor_a in a.items():
        for names_b, factor_b in b.items():
            key = tuple(sorted(names_a + names_b))
            out[key] = out.get(key, 0) + factor_a * factor_b
    return out


def _add(a: Polynomial, b: Polynomial) -> Polynomial:
    out = dict(a)
    for key, factor in b.items():
        out[key] = out.get(key, 0) + factor
    return out


def _from_ast(node: ast.AST, text: str) -> Polynomial:
    if isinstance(node, ast.Name):
        return {(node.id.replace(_PRIME, "'"),): 1}
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return {(): node.value}
    if isinstance(node, ast.BinOp):
        left = _from_ast(node.left, text)
        if isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant) \
                and type(node.right.value) is int and 0 <= node.right.value <= 8:
            out: Polynomial = {(): 1}
            for _ in range(node.right.value):
                out = _multiply(out, left)
            return out
        right = _from_ast(node.right, text)
        if isinstance(node.op, ast.Add):
            return _add(left, right)
        if isinstance(node.op, ast.Mult):
            return _multiply(left, right)
    raise ValueError(f"expected a dimension made of names, integers, +, * and **, got {text!r}")


@lru_cache(maxsize=None)
def _polynomial(text: str) -> Polynomial:
    try:
        tree = ast.parse(text.strip().replace("'", _PRIME), mode="eval")
    except SyntaxError:
        raise ValueError(f"expected a dimension such as 'K' or '1 + D + D*D', got {text!r}") from None
    return {k: c for k, c in _from_ast(tree.body, text).items() if c}


def _spell(polynomial: Polynomial) -> str:
    pieces = []
    for names, factor in sorted(polynomial.items(), key=lambda item: (len(item[0]), item[0])):
        parts = list(names) if factor == 1 and names else [str(factor), *names]
        pieces.append("*".join(parts))
    return " + ".join(pieces) or "0"


@lru_cache(maxsize=None)
def _canonical(text: str) -> str:
    if _IDENTIFIER.fullmatch(text):
        if text.rstrip("'") in RESERVED:
            raise ValueError(f"expected another dimension name, got {text!r}, which the compiler uses")
        return text
    return _spell(_polynomial(text))


def canonical(dim: str | int) -> str:
    """The one spelling of a dimension.

    Raises ValueError for what is not a polynomial of names.
    """
    if isinstance(dim, bool) or not isinstance(dim, (str, int)):
        raise ValueError(f"expected a dimension's name, expression or size, got {dim!r}")
    return _canonical(str(dim))


@lru_cache(maxsize=None)
def names_in(dim: str) -> frozenset[str]:
    """Names that a dimension's size depends on, without primes."""
    return frozenset(name.rstrip("'") for names in _polynomial(dim) for name in names)


def evaluate(dim: str, sizes: dict[str, int]) -> int:
    """Size of a dimension. Raises KeyError for a name without a size."""
    if dim in sizes:
        return sizes[dim]
    value = 0
    for names, factor in _polynomial(dim).items():
        for name in names:
            factor = factor * sizes[name.rstrip("'")]
        value = value + factor
    return value


def substitute(dim: str, renaming: dict[str, str]) -> str:
    """The dimension with names replaced by other dimensions, primes kept."""
    out: Polynomial = {}
    for names, factor in _polynomial(dim).items():
        term: Polynomial = {(): factor}
        for name in names:
            to = renaming.get(name.rstrip("'"), name.rstrip("'"))
            term = _multiply(term, _polynomial(primed(to) if name.endswith("'") else to))
        out = _add(out, term)
    return _spell({k: c for k, c in out.items() if c})


def primed(dim: str) -> str:
    """The second axis of a square state: the same size under another name."""
    return _spell({tuple(n + "'" for n in names): c for names, c in _polynomial(dim).items()}) \
        if names_in(dim) else dim + "'"


def unprimed(dim: str) -> str:
    return canonical(dim.replace("'", ""))


def product(a: str, b: str) -> str:
    return _spell(_multiply(_polynomial(a), _polynomial(b)))


def total(parts: list[str]) -> str:
    out: Polynomial = {}
    for part in parts:
        out = _add(out, _polynomial(part))
    return _spell({k: c for k, c in out.items() if c})


def _invert(dim: str, name: str, size: int, sizes: dict[str, int]) -> int | None:
    """The value of `name` that gives `dim` this size, or None; sizes grow with names."""
    low, high = 0, max(size, 1)
    while low < high:
        middle = (low + high) // 2
        if evaluate(dim, {**sizes, name: middle}) < size:
            low = middle + 1
        else:
            high = middle
    return low if evaluate(dim, {**sizes, name: low}) == size else None


def solve_sizes(observed: list[tuple[str, int]], sizes: dict[str, int]) -> None:
    """Adds to `sizes` the names that observed (dimension, size) pairs determine.

    A bare name is read off; an expression with one unknown name is inverted. A
    pair that has no solution is left for the caller's check to report.
    """
    pending = []
    for dim, size in observed:
        if _IDENTIFIER.fullmatch(dim):
            sizes.setdefault(dim.rstrip("'"), size)
        else:
            pending.append((dim, size))
    progress = bool(pending)
    while progress:
        progress = False
        for dim, size in pending:
            unknown = names_in(dim) - sizes.keys()
            if len(unknown) == 1:
                (name,) = unknown
                value = _invert(dim, name, int(size), sizes)
                if value is not None:
                    sizes[name] = value
                    progress = True
