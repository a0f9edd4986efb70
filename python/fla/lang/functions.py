"""The functions of the language.

On traced values each emits operations; on Python numbers each computes, so that
static arguments and constants go through the same helpers. Logarithms and gates
are natural.
"""

from __future__ import annotations

import builtins
import math

from .builder import attributes, current, type_of
from .dimensions import canonical, primed, product, total, unprimed
from .errors import refuse
from .values import (Condition, Side, Value, binary, broadcast, describe, divide, dot, is_number, lift,
                     multiply, plain, rename, together, unary)

__all__ = ["exp", "exp2", "log", "log2", "log1p", "expm1", "sqrt", "rsqrt", "sigmoid", "logsigmoid", "silu",
           "softplus", "tanh", "relu", "gelu", "sin", "cos", "abs", "minimum", "maximum", "clamp", "where",
           "sum", "mean", "max", "dot", "softmax", "logaddexp", "l2norm", "rmsnorm", "outer", "rows", "cols",
           "concat", "flatten", "rotate", "assume", "unit"]


def _elementwise(name: str, mnemonic: str, on_number, text: str):
    def function(x):
        return on_number(float(x)) if is_number(x) else unary(mnemonic, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{text}, elementwise."
    return function


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return builtins.max(x, 0.0) + math.log1p(math.exp(-builtins.abs(x)))


exp = _elementwise("exp", "math.exp", math.exp, "e to the x")
exp2 = _elementwise("exp2", "math.exp2", lambda x: 2.0 ** x, "2 to the x")
log = _elementwise("log", "math.log", math.log, "Natural logarithm")
log2 = _elementwise("log2", "math.log2", math.log2, "Logarithm to base 2")
log1p = _elementwise("log1p", "math.log1p", math.log1p, "log(1 + x)")
expm1 = _elementwise("expm1", "math.expm1", math.expm1, "exp(x) - 1")
sqrt = _elementwise("sqrt", "math.sqrt", math.sqrt, "Square root")
rsqrt = _elementwise("rsqrt", "math.rsqrt", lambda x: 1 / math.sqrt(x), "1 / sqrt(x)")
tanh = _elementwise("tanh", "math.tanh", math.tanh, "Hyperbolic tangent")
sin = _elementwise("sin", "math.sin", math.sin, "Sine")
cos = _elementwise("cos", "math.cos", math.cos, "Cosine")
sigmoid = _elementwise("sigmoid", "fla.sigmoid", _sigmoid, "1 / (1 + exp(-x))")
softplus = _elementwise("softplus", "fla.softplus", _softplus, "log(1 + exp(x)) without overflow")


def abs(x):
    """Absolute value, elementwise."""
    return builtins.abs(x)


def logsigmoid(x):
    """log(sigmoid(x)) = -softplus(-x): a natural-log gate from a logit."""
    return -softplus(-x)


def silu(x):
    """x * sigmoid(x)."""
    return x * sigmoid(x)


def relu(x):
    """max(x, 0)."""
    return maximum(x, 0.0)


def gelu(x):
    """x * Phi(x), with the error function and not its tanh approximation."""
    if is_number(x):
        return 0.5 * float(x) * (1 + math.erf(float(x) / math.sqrt(2)))
    return 0.5 * x * (1.0 + unary("math.erf", x * math.sqrt(0.5)))


def minimum(a, b):
    """The smaller of a and b, elementwise, broadcast by name."""
    return builtins.min(a, b) if is_number(a) and is_number(b) else binary("arith.minimumf", a, b)


def maximum(a, b):
    """The larger of a and b, elementwise, broadcast by name; as a state, a running maximum."""
    return builtins.max(a, b) if is_number(a) and is_number(b) else binary("arith.maximumf", a, b)


def clamp(x, lo=None, hi=None):
    """x limited to [lo, hi]; None leaves a side open."""
    x = x if lo is None else maximum(x, lo)
    return x if hi is None else minimum(x, hi)


def logaddexp(a, b):
    """log(exp(a) + exp(b)) without overflow; as a state, a running logsumexp."""
    if is_number(a) and is_number(b):
        return builtins.max(a, b) + math.log1p(math.exp(-builtins.abs(a - b)))
    return binary("fla.logaddexp", a, b)


def where(condition, a, b):
    """a where the condition holds, b elsewhere; conditions are comparisons joined by & | ~.

    Both sides are computed: guard the argument of log or sqrt, not its result.
    """
    if isinstance(condition, bool):
        return a if condition else b
    if isinstance(condition, Value):
        condition = condition != 0.0
    if not isinstance(condition, Condition):
        raise refuse(f"expected a comparison as the condition of where(), got {condition!r}")
    if condition.kind == "not":
        return where(condition.parts[0], b, a)
    if condition.kind == "and":
        return where(condition.parts[0], where(condition.parts[1], a, b), b)
    if condition.kind == "or":
        return where(condition.parts[0], a, where(condition.parts[1], a, b))
    return _select(condition, lift(a), lift(b))


def _select(condition: Condition, a: Value, b: Value) -> Value:
    dims, (left, right, a, b) = together(*map(lift, condition.parts), a, b)
    full, truth = type_of(dims), type_of(dims, "i1")
    builder = current()
    flag = builder.emit(f"arith.cmpf {condition.kind}, {left.ssa}, {right.ssa} : {full}", (left.ssa, right.ssa))
    types = f"{truth}, {full}" if dims else full
    return Value(builder.emit(f"arith.select {flag}, {a.ssa}, {b.ssa} : {types}", (flag, a.ssa, b.ssa)), dims)


# Reductions.
def _reduce(mnemonic: str, x: Value, over: tuple) -> Value:
    x = plain(lift(x))
    gone = [canonical(d) for d in over] or list(x.dims)
    for d in gone:
        if d not in x.dims:
            raise refuse(f"{describe(x)} has no dimension {d} to reduce over")
    rest = tuple(d for d in x.dims if d not in gone)
    if rest == x.dims:
        return x
    return Value(current().emit(f"{mnemonic} {x.ssa} : {type_of(x.dims)} -> {type_of(rest)}", (x.ssa,)), rest)


def sum(x, *over):
    """Sum over the named dimensions, all of them by default; of a list, its elements' sum."""
    if isinstance(x, Value):
        return _reduce("fla.sum", x, over)
    items = list(x)
    if not any(isinstance(i, Value) for i in items):
        return builtins.sum(items, *over)
    out = items[0]
    for item in items[1:]:
        out = out + item
    return out


def max(x, *over):
    """Largest element over the named dimensions, all by default; of several values, the largest."""
    if isinstance(x, Value) and all(isinstance(d, str) for d in over):
        return _reduce("fla.max", x, over)
    items = [x, *over] if over else list(x)
    if not any(isinstance(i, Value) for i in items):
        return builtins.max(items)
    out = items[0]
    for item in items[1:]:
        out = maximum(out, item)
    return out


def _size(dims: tuple[str, ...]) -> Value:
    """Number of elements of these dimensions, as a value."""
    return _reduce("fla.sum", broadcast(lift(1.0), dims), ())


def mean(x, *over):
    """Mean over the named dimensions, all of them by default."""
    x = plain(lift(x))
    if not x.dims:
        return x
    gone = tuple(canonical(d) for d in over) or x.dims
    return divide(_reduce("fla.sum", x, gone), _size(gone))


def softmax(x):
    """Softmax along the last dimension."""
    x = lift(x)
    if not x.dims:
        raise refuse(f"expected a vector for softmax, got {describe(x)}")
    return unary("fla.softmax", x)


def _vector(x, function: str) -> Value:
    x = plain(lift(x))
    if not x.dims:
        raise refuse(f"expected a vector for {function}, got {describe(x)}")
    return x


def l2norm(x, eps: float = 1e-6):
    """x * rsqrt(sum(x^2) + eps) along the last dimension."""
    x = _vector(x, "l2norm")
    return x * rsqrt(_reduce("fla.sum", x * x, x.dims[-1:]) + eps)


def rmsnorm(x, weight=None, eps: float = 1e-6):
    """x * rsqrt(mean(x^2) + eps) along the last dimension, times a weight if given."""
    x = _vector(x, "rmsnorm")
    out = x * rsqrt(mean(x * x, x.dims[-1]) + eps)
    return out if weight is None else out * weight


# Shapes.
def outer(x, y):
    """The matrix x y^T of two vectors; added to a state, a rank-1 write."""
    x, y = lift(x), lift(y)
    if len(x.dims) != 1 or len(y.dims) != 1:
        raise refuse(f"expected two vectors for outer, got {describe(x)} and {describe(y)}")
    x = plain(x)
    if unprimed(y.dims[0]) == x.dims[0]:
        y = rename(y, (primed(x.dims[0]),))
    dims = x.dims + y.dims
    text = f"fla.outer {x.ssa}, {y.ssa} : {type_of(x.dims)}, {type_of(y.dims)} -> {type_of(dims)}"
    return Value(current().emit(text, (x.ssa, y.ssa)), dims, factors=(x, y))


def rows(w):
    """``rows(w) * S`` scales the first axis of a state, whatever w's dimension is called."""
    return Side(lift(w), 0)


def cols(w):
    """``cols(w) * S`` scales the second axis of a state."""
    return Side(lift(w), 1)


def concat(*parts):
    """Vectors and numbers one after another, along their last dimension."""
    values = [plain(lift(p)) for p in (parts[0] if len(parts) == 1 and isinstance(parts[0], (list, tuple)) else parts)]
    if not values:
        raise refuse("expected at least one value for concat")
    lead = next((v.dims[:-1] for v in values if v.dims), ())
    for v in values:
        if v.dims and v.dims[:-1] != lead:
            raise refuse(f"expected parts with the same leading dimensions for concat, got {describe(v)}")
    dims = lead + (total([v.dims[-1] if v.dims else "1" for v in values]),)
    operands = tuple(v.ssa for v in values)
    types = ", ".join(type_of(v.dims) for v in values)
    return Value(current().emit(f"fla.concat {', '.join(operands)} : {types} -> {type_of(dims)}", operands), dims)


def flatten(x):
    """Merges the last two dimensions into one, row-major: ``flatten(outer(q, q))``."""
    x = lift(x)
    if len(x.dims) < 2:
        raise refuse(f"expected a matrix for flatten, got {describe(x)}")
    dims = x.dims[:-2] + (product(unprimed(x.dims[-2]), unprimed(x.dims[-1])),)
    return Value(current().emit(f"fla.flatten {x.ssa} : {type_of(x.dims)} -> {type_of(dims)}", (x.ssa,)), dims)


def rotate(x, angle):
    """Turns the pairs (x[2i], x[2i+1]) of the last dimension by angle[i] radians."""
    x, angle = plain(lift(x)), plain(lift(angle))
    if not x.dims or not angle.dims or x.dims[:-1] != angle.dims[:-1] \
            or product("2", angle.dims[-1]) != x.dims[-1]:
        raise refuse(f"expected a vector of dimension 2*R and an angle of dimension R for rotate, "
                     f"got {describe(x)} and {describe(angle)}")
    text = f"fla.rotate {x.ssa}, {angle.ssa} : {type_of(x.dims)}, {type_of(angle.dims)}"
    return Value(current().emit(text, (x.ssa, angle.ssa)), x.dims)


# Contracts.
def assume(x, lo=None, hi=None, *, unit: bool = False):
    """x, with the promise that lo <= x <= hi; None leaves a side open.

    A contract, not a computation: it makes scores cheaper and is where checks
    draw their inputs from. Breaking it gives wrong results.
    """
    if is_number(x):
        return x
    x = lift(x)
    for bound in (lo, hi):
        if bound is not None and not is_number(bound):
            raise refuse(f"expected a number as a bound of assume, got {describe(bound)}")
    if lo is not None and hi is not None and lo > hi:
        raise refuse(f"expected bounds in order for assume, got {lo} and {hi}")
    domain = {"min": lo, "max": hi, "unit": unit or None}
    domain = {k: v for k, v in domain.items() if v is not None}
    builder = current()
    if x.ssa in builder.domains:
        _narrow(builder.domains[x.ssa], domain)
        return x
    return _assumed(x, domain)


def _narrow(known: dict, domain: dict) -> None:
    """Adds a contract to what is already promised of an argument."""
    for key, value in domain.items():
        pick = {"min": builtins.max, "max": builtins.min}.get(key)
        known[key] = pick(known[key], value) if pick and key in known else value


def _assumed(x: Value, domain: dict) -> Value:
    text = f"fla.assume {x.ssa}{attributes(domain)} : {type_of(x.dims)}"
    return Value(current().emit(text, (x.ssa,)), x.dims, state=x.state)


def unit(x):
    """x, with the promise that its Euclidean norm along the last dimension is 1."""
    return assume(_vector(x, "unit"), unit=True)
