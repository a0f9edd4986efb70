"""ReBased without its divisor: the library's linear attention on all products of two channels.

The values get a channel of ones, whose output is the scores' sum.
"""

from __future__ import annotations

from fla.lang import State, Vec, concat, flatten, load, outer, recurrence

__all__ = ["REBASED", "rebased_sums"]

REBASED, LINEAR = load("rebased"), load("linear_attn")


@recurrence
def rebased_sums(S: State["D*D", "V + 1"], q: Vec["D"], k: Vec["D"], v: Vec["V"], *, scale: float = 1.0):
    q = scale * q
    return LINEAR(S, flatten(outer(q, q)), flatten(outer(k, k)), concat(v, 1.0))
