"""Based without its divisor: the library's linear attention on the features of the Taylor expansion."""

from __future__ import annotations

from fla.lang import State, Vec, concat, flatten, load, outer, recurrence

__all__ = ["BASED", "based_sums"]

BASED, LINEAR = load("based"), load("linear_attn")


def _features(x):
    """phi(x) = [1, x, x x^T / sqrt(2)], so that phi(x).phi(y) = 1 + x.y + (x.y)^2/2."""
    return concat(1.0, x, 0.5 ** 0.5 * flatten(outer(x, x)))


@recurrence
def based_sums(S: State["1 + D + D*D", "V"], q: Vec["D"], k: Vec["D"], v: Vec["V"], *, scale: float = 1.0):
    return LINEAR(S, _features(scale * q), _features(k), v)
