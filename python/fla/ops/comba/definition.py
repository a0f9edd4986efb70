"""Comba, with its vectors normalised first where that is wanted."""

from __future__ import annotations

from fla.lang import Scalar, State, Vec, l2norm, load, recurrence

from .._steps import write_rate

__all__ = ["comba"]

COMBA = load("comba")


@recurrence
def comba(
    S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], p: Vec["K"], g: Scalar, beta: Scalar | None = None,
    *, scale: float = 1.0, normalise: bool = False,
):
    if normalise:
        q, k, p = l2norm(q), l2norm(k), l2norm(p)
    return COMBA(S, q, k, v, p, g, write_rate(beta, False, False), scale)
