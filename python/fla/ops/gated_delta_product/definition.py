"""Gated DeltaProduct for any number of steps a token: the library's delta rule, n times."""

from __future__ import annotations

from fla.lang import Scalar, State, Vec, l2norm, load, recurrence

__all__ = ["gated_delta_product"]

DELTA, GATED = load("delta_rule"), load("gated_delta_rule")


@recurrence
def gated_delta_product(
    S: State["K", "V"], q: Vec["K"], k: Vec["n", "K"], v: Vec["n", "V"], beta: Vec["n"], g: Scalar | None = None,
    *, n: int, scale: float = 1.0, normalise: bool = False,
):
    if normalise:
        q, k = l2norm(q), l2norm(k)
    for i in range(n):
        if g is not None and i == 0:
            S, o = GATED(S, q, k[i], v[i], g, beta[i], scale)
        else:
            S, o = DELTA(S, q, k[i], v[i], beta[i], scale)
    return S, o
