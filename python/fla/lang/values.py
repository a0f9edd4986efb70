"""Traced values: what a step's variables are while it is traced.

Operators broadcast and contract by the names of dimensions, never by position.
Each maps to one operation of the `fla`, `arith` or `math` dialects; the algebra
is the compiler's.
"""

from __future__ import annotations

import builtins
import numbers
from dataclasses import dataclass

from .builder import current, type_of
from .dimensions import primed, unprimed
from .errors import here, refuse

__all__ = ["Value", "Condition", "Side", "lift", "broadcast", "together", "unary", "binary", "plain",
           "is_number"]


def is_number(x) -> bool:
    """A Python or NumPy number, bool excluded."""
    return isinstance(x, numbers.Real) and not isinstance(x, bool)


def describe(x) -> str:
    if isinstance(x, Value):
        text = x.origin() if not x.name else None
        kind = f"dimensions {', '.join(x.dims)}" if x.dims else "no dimension"
        return f"'{x.name or text or x.ssa}' ({kind})"
    return repr(x)


def _foreign(x) -> Exception:
    kind = f"{type(x).__module__}.{type(x).__qualname__}"
    return refuse(f"a step works on its arguments and Python numbers, got {kind}; "
                  "pass a tensor as an argument of the step (Vec, Scalar or Param)")


def _branching(what: str) -> Exception:
    text = here().source()
    return refuse(f"{what}{f' (here {text!r})' if text else ''} depends on a traced value, which has no number while "
                  "the step is traced; "
                  "use where(condition, a, b) to choose between values, or a keyword-only argument "
                  "(int, bool, str or Static[float]) for what is known when the kernel is compiled")


class Value:
    """A number or a tensor with named dimensions at one token.

    `state` says that it is a version of a state (decayed, written to), `factors`
    what an outer product was made of, `flipped` that ``.T`` was taken of a
    square state.
    """

    __slots__ = ("builder", "ssa", "dims", "name", "state", "factors", "flipped", "__weakref__")
    __hash__ = object.__hash__

    def __init__(self, ssa: str, dims: tuple[str, ...], *, name: str = "", state: bool = False,
                 factors=None, flipped: bool = False):
        self.builder = current()
        self.ssa, self.dims, self.name = ssa, dims, name
        self.state, self.factors, self.flipped = state, factors, flipped

    def origin(self) -> str | None:
        """The user's expression that made this value, when its source is at hand."""
        made = next((op for op in self.builder.ops if op.result == self.ssa), None)
        return made.location.source() if made else None

    # What Python would need a number for.
    def __bool__(self):
        raise _branching("branching")

    def __float__(self):
        raise refuse(f"{describe(self)} is not a number while the step is traced; "
                     "use the functions of fla.lang (exp, log, sqrt, ...) instead of those of math and numpy")

    __int__ = __index__ = __complex__ = __float__

    def __array__(self, *_, **__):
        return self.__float__()

    def __array_ufunc__(self, ufunc, method, *inputs, **__):
        operators = {"add": "__add__", "subtract": "__sub__", "multiply": "__mul__",
                     "divide": "__truediv__", "true_divide": "__truediv__"}
        if method == "__call__" and ufunc.__name__ in operators and len(inputs) == 2:
            return getattr(lift(inputs[0]), operators[ufunc.__name__])(inputs[1])
        raise refuse(f"numpy's {ufunc.__name__} is applied to {describe(self)}; use the function of fla.lang")

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        for x in args:
            if not isinstance(x, Value) and hasattr(x, "dtype"):
                raise _foreign(x)
        raise refuse(f"torch's {getattr(func, '__name__', func)} is applied to a traced value; "
                     "use the functions of fla.lang")

    def __repr__(self) -> str:
        return f"<traced {self.name or self.ssa}: {type_of(self.dims)}>"

    # Shape.
    @property
    def T(self) -> "Value":
        """The transpose; only ``@`` on a square state looks at it."""
        if len(self.dims) != 2:
            raise refuse(f"expected a matrix to transpose, got {describe(self)}")
        return Value(self.ssa, self.dims, name=self.name, state=self.state, factors=self.factors,
                     flipped=not self.flipped)

    def __len__(self) -> int:
        size = self.builder.static_sizes.get(self.dims[0]) if self.dims else None
        if size is None:
            axis = f"dimension {self.dims[0]} of {describe(self)}" if self.dims else describe(self)
            raise refuse(f"the size of {axis} is not known while the step is traced; "
                         "an axis is indexable when a static int argument names it (n: int with Vec[\"n\", \"K\"])")
        return size

    def __getitem__(self, position) -> "Value":
        if isinstance(position, Value):
            raise _branching("an index")
        size = len(self)
        if isinstance(position, bool) or not isinstance(position, int):
            raise refuse(f"expected an integer to index dimension {self.dims[0]} with, got {position!r}")
        if not -size <= position < size:
            raise refuse(f"expected an index below {size} for dimension {self.dims[0]}, got {position}")
        rest = self.dims[1:]
        text = (f"fla.index {self.ssa}[{position % size}] : {type_of(self.dims)} -> {type_of(rest)}")
        return Value(self.builder.emit(text, (self.ssa,)), rest)

    def __iter__(self):
        return iter([self[i] for i in range(len(self))])

    # Arithmetic.
    def __add__(self, other):
        return add(self, other)

    def __radd__(self, other):
        return add(other, self)

    def __sub__(self, other):
        return binary("arith.subf", self, other, linear=True)

    def __rsub__(self, other):
        return binary("arith.subf", other, self, linear=True)

    def __mul__(self, other):
        return multiply(self, other)

    def __rmul__(self, other):
        return multiply(other, self)

    def __truediv__(self, other):
        return divide(self, other)

    def __rtruediv__(self, other):
        return divide(other, self)

    def __neg__(self):
        return unary("arith.negf", self, state=self.state)

    def __pos__(self):
        return self

    def __abs__(self):
        return unary("math.absf", self)

    def __pow__(self, exponent):
        return power(self, exponent)

    def __rpow__(self, base):
        return power(base, self)

    def __matmul__(self, other):
        return matmul(self, other)

    def __rmatmul__(self, other):
        return matmul(other, self)

    # Comparisons give conditions for where().
    def __lt__(self, other):
        return Condition.compare("olt", self, other)

    def __le__(self, other):
        return Condition.compare("ole", self, other)

    def __gt__(self, other):
        return Condition.compare("ogt", self, other)

    def __ge__(self, other):
        return Condition.compare("oge", self, other)

    def __eq__(self, other):
        return Condition.compare("oeq", self, other)

    def __ne__(self, other):
        return Condition.compare("une", self, other)


@dataclass(frozen=True)
class Condition:
    """A comparison, or several joined by ``&``, ``|`` and ``~``: for where() alone."""

    kind: str
    parts: tuple

    @staticmethod
    def compare(predicate: str, a, b) -> "Condition":
        return Condition(predicate, (lift(a), lift(b)))

    def __bool__(self):
        raise _branching("branching")

    def __and__(self, other):
        return Condition("and", (self, other))

    def __or__(self, other):
        return Condition("or", (self, other))

    def __invert__(self):
        return Condition("not", (self,))


@dataclass(frozen=True)
class Side:
    """``rows(w)`` or ``cols(w)``: the axis of a state that a vector scales."""

    vector: Value
    axis: int

    __array_ufunc__ = None

    def __mul__(self, other):
        return _scale_side(self, other)

    __rmul__ = __mul__


def lift(x) -> Value:
    """A traced value for x. Raises DefinitionError for what a step cannot hold."""
    if isinstance(x, Value):
        if x.builder is not current():
            raise refuse(f"{describe(x)} belongs to another step; pass it as an argument")
        return x
    if isinstance(x, Condition):
        raise refuse("a comparison is used as a number; use where(condition, a, b)")
    if isinstance(x, Side):
        raise refuse("rows(w) and cols(w) only say how a vector multiplies a state: rows(w) * S")
    if isinstance(x, bool) or not is_number(x):
        raise _foreign(x)
    return Value(current().constant(float(x)), ())


def _ordered(value: Value, dims: tuple[str, ...]) -> Value:
    """The same value with its dimensions in this order."""
    if value.dims == dims:
        return value
    if value.factors and value.factors[1].dims + value.factors[0].dims == dims:
        from .functions import outer
        return outer(value.factors[1], value.factors[0])
    one = current().constant(1.0)
    text = f"fla.contract {value.ssa}, {one} : {type_of(value.dims)}, f64 -> {type_of(dims)}"
    return Value(current().emit(text, (value.ssa, one)), dims)


def broadcast(value: Value, dims: tuple[str, ...]) -> Value:
    """Repeats a value along the dimensions that it lacks."""
    if value.dims == dims:
        return value
    value = _ordered(value, tuple(d for d in dims if d in value.dims))
    if value.dims == dims:
        return value
    text = f"fla.broadcast {value.ssa} : {type_of(value.dims)} -> {type_of(dims)}"
    return Value(current().emit(text, (value.ssa,)), dims)


def _check_flip(*values: Value) -> None:
    square = [v for v in values if len(v.dims) == 2 and unprimed(v.dims[0]) == unprimed(v.dims[1])]
    if any(v.flipped for v in square):
        raise refuse("the transpose of a square state can only be used with @, for instance S.T @ k")


def plain(value: Value) -> Value:
    """A vector read from a square state under its own name: K' becomes K."""
    return rename(value, (unprimed(value.dims[0]),)) if len(value.dims) == 1 and "'" in value.dims[0] else value


def _align(values: tuple[Value, ...]) -> list[Value]:
    """Vectors of K and K' together: what does not come from the state takes the prime."""
    names = {v.dims for v in values if len(v.dims) == 1}
    prime = next((d for d in names if "'" in d[0] and (unprimed(d[0]),) in names), None)
    if prime is None:
        return list(values)
    return [rename(v, prime) if v.dims == (unprimed(prime[0]),) else v for v in values]


def _ambiguous(vector: Value, matrix: Value) -> bool:
    return (len(matrix.dims) == 2 and len(vector.dims) == 1
            and matrix.dims[1] == primed(matrix.dims[0]) and vector.dims[0] == matrix.dims[0])


def together(*values: Value) -> tuple[tuple[str, ...], list[Value]]:
    """Common dimensions of values that work elementwise, one holding all the others'."""
    _check_flip(*values)
    values = _align(values)
    widest = builtins.max(values, key=lambda v: len(v.dims))
    for v in values:
        if not set(v.dims) <= set(widest.dims):
            raise refuse(f"dimensions are mixed: {describe(v)} and {describe(widest)}; an elementwise "
                         "operation needs one operand's dimensions among the other's, and outer(a, b) "
                         "makes a matrix of two vectors")
        if v is not widest and _ambiguous(v, widest):
            raise refuse(f"{describe(v)} could scale the rows or the columns of {describe(widest)}, whose "
                         "dimensions have the same name; write rows(w) * S or cols(w) * S")
    return widest.dims, [broadcast(v, widest.dims) for v in values]


def unary(mnemonic: str, x, state: bool = False) -> Value:
    """One elementwise operation of one operand."""
    x = lift(x)
    _check_flip(x)
    return Value(current().emit(f"{mnemonic} {x.ssa} : {type_of(x.dims)}", (x.ssa,)), x.dims, state=state)


def binary(mnemonic: str, a, b, linear: bool = False) -> Value:
    """One elementwise operation of two operands, broadcast by name."""
    a, b = lift(a), lift(b)
    dims, (x, y) = together(a, b)
    text = f"{mnemonic} {x.ssa}, {y.ssa} : {type_of(dims)}"
    return Value(current().emit(text, (x.ssa, y.ssa)), dims, state=linear and (a.state or b.state))


def add(a, b) -> Value:
    """a + b; a rank-1 term added to a state is a write."""
    if isinstance(a, Value) and isinstance(b, Value):
        for state, term in ((a, b), (b, a)):
            if state.state and term.factors and set(state.dims) == set(term.dims) and not state.flipped:
                return _write(lift(state), _ordered(lift(term), state.dims))
    return binary("arith.addf", a, b, linear=True)


def _write(state: Value, term: Value) -> Value:
    x, y = term.factors
    text = f"fla.write {state.ssa}, {x.ssa}, {y.ssa} : {type_of(state.dims)}, {type_of(x.dims)}, {type_of(y.dims)}"
    return Value(current().emit(text, (state.ssa, x.ssa, y.ssa)), state.dims, state=True)


def _factor_first(a: Value, b: Value) -> tuple[Value, Value]:
    """(what is scaled, factor): a state before a value, then the wider one first."""
    if b.state and not a.state or b.state == a.state and len(b.dims) > len(a.dims):
        a, b = b, a
    return (a, b) if len(a.dims) >= len(b.dims) else (b, a)


def multiply(a, b) -> Value:
    """a * b by names: a gate on a state, a scale or an elementwise product otherwise."""
    if isinstance(a, Side) or isinstance(b, Side):
        return _scale_side(a, b) if isinstance(a, Side) else _scale_side(b, a)
    value, factor = _factor_first(*_align((lift(a), lift(b))))
    _check_flip(value, factor)
    if not set(factor.dims) <= set(value.dims) or _ambiguous(factor, value):
        together(value, factor)
    return _product(value, _ordered(factor, tuple(d for d in value.dims if d in factor.dims)))


def _product(value: Value, factor: Value, plain: tuple | None = None) -> Value:
    """The operation behind multiply and divide, operands checked.

    A gate on a vector state that feeds no state is an ordinary product: `plain`.
    """
    operands = (value.ssa, factor.ssa)
    scale = f"fla.scale {value.ssa}, {factor.ssa} : {type_of(value.dims)}, {type_of(factor.dims)}"
    if factor.dims == value.dims:
        scale = f"arith.mulf {value.ssa}, {factor.ssa} : {type_of(value.dims)}"
    if not value.state or factor.state:
        return Value(current().emit(scale, operands), value.dims)
    gate = f"fla.gate {value.ssa}, {factor.ssa} : {type_of(value.dims)}, {type_of(factor.dims)}"
    if len(value.dims) < 2:
        plain = plain or (scale, operands)
    return Value(current().emit(gate, operands, plain), value.dims, state=True)


def _scale_side(side: Side, other) -> Value:
    matrix, vector = lift(other), lift(side.vector)
    if len(matrix.dims) != 2:
        raise refuse(f"expected a matrix beside rows(...) or cols(...), got {describe(matrix)}")
    axis = matrix.dims[side.axis]
    if len(vector.dims) != 1 or unprimed(vector.dims[0]) != unprimed(axis):
        raise refuse(f"expected a vector of dimension {axis} to scale the "
                     f"{'rows' if side.axis == 0 else 'columns'} of {describe(matrix)}, got {describe(vector)}")
    return _product(matrix, rename(vector, (axis,)))


def rename(value: Value, dims: tuple[str, ...]) -> Value:
    """The same value under other names of equal size."""
    if value.dims == dims:
        return value
    text = f"fla.rename {value.ssa} : {type_of(value.dims)} -> {type_of(dims)}"
    return Value(current().emit(text, (value.ssa,)), dims)


def divide(a, b) -> Value:
    """a / b; a state divided by a value is gated by its reciprocal."""
    a, b = lift(a), lift(b)
    narrower = set(b.dims) <= set(a.dims) and not _ambiguous(b, a)
    if not (a.state and not b.state and narrower):
        return binary("arith.divf", a, b)
    factor = binary("arith.divf", 1.0, _ordered(b, tuple(d for d in a.dims if d in b.dims)))
    plain = None
    if len(a.dims) < 2:
        wide = broadcast(b, a.dims)
        plain = (f"arith.divf {a.ssa}, {wide.ssa} : {type_of(a.dims)}", (a.ssa, wide.ssa))
    return _product(a, factor, plain)


def power(base, exponent) -> Value:
    """base ** exponent; integers up to 4 by products, halves by roots."""
    if is_number(exponent):
        base, exponent = lift(base), float(exponent)
        if exponent in (1.0, 2.0, 3.0, 4.0):
            out = base
            for _ in range(int(exponent) - 1):
                out = binary("arith.mulf", out, base)
            return out
        if exponent == 0.5:
            return unary("math.sqrt", base)
        if exponent == -0.5:
            return unary("math.rsqrt", base)
        if exponent == -1.0:
            return divide(1.0, base)
    if is_number(base) and float(base) == 2.0:
        return unary("math.exp2", exponent)
    return binary("math.powf", base, exponent)


def matmul(a, b) -> Value:
    """``S.T @ q``, ``S @ v``, ``k @ q``: a sum over the dimension that both name."""
    for x in (a, b):
        if not isinstance(x, Value):
            raise refuse(f"expected a matrix or a vector beside @, got {x!r}")
    a, b = lift(a), lift(b)
    if len(a.dims) == 1 and len(b.dims) == 1:
        return dot(a, b)
    if len(a.dims) == 2 and len(b.dims) == 1:
        return _contract(a, b, last=True)
    if len(a.dims) == 1 and len(b.dims) == 2:
        return _contract(b, a, last=False)
    raise refuse(f"expected a matrix and a vector, or two vectors, beside @, got {describe(a)} and {describe(b)}")


def dot(a, b) -> Value:
    """Sum of products of two vectors of one dimension."""
    a, b = _align((lift(a), lift(b)))
    if a.dims != b.dims:
        raise refuse(f"dimensions are mixed: {describe(a)} and {describe(b)} are multiplied and summed; "
                     "expected two vectors of the same dimension")
    if not a.dims:
        return multiply(a, b)
    return Value(current().emit(f"fla.dot {a.ssa}, {b.ssa} : {type_of(a.dims)}", (a.ssa, b.ssa)), ())


def _contract(matrix: Value, vector: Value, last: bool) -> Value:
    """Sums the axis that the vector names; for a square state the side of @ decides."""
    square = matrix.dims[1] == primed(matrix.dims[0])
    name = vector.dims[0]
    if square and unprimed(name) == matrix.dims[0]:
        axis = 1 if last != matrix.flipped else 0
        vector = rename(vector, (matrix.dims[axis],))
    elif name in matrix.dims:
        axis = matrix.dims.index(name)
    else:
        raise refuse(f"dimensions are mixed: {describe(vector)} names no dimension of {describe(matrix)}; "
                     f"expected a vector of {' or '.join(matrix.dims)}")
    rest = (matrix.dims[1 - axis],)
    mnemonic = "fla.read" if matrix.state else "fla.contract"
    text = (f"{mnemonic} {matrix.ssa}, {vector.ssa} : {type_of(matrix.dims)}, {type_of(vector.dims)} "
            f"-> {type_of(rest)}")
    return Value(current().emit(text, (matrix.ssa, vector.ssa)), rest)
