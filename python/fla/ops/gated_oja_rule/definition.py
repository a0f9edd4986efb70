"""The gated Oja rule, with q and k normalised first where that is wanted."""

from __future__ import annotations

from fla.lang import Scalar, State, Vec, l2norm, load, recurrence

from .._steps import write_rate

__all__ = ["gated_oja_rule"]

OJA = load("gated_oja_rule")


@recurrence
def gated_oja_rule(
    S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], gv: Vec["V"] | None = None, beta: Scalar | None = None,
    *, scale: float = 1.0, normalise_q: bool = False, normalise_k: bool = False,
):
    q = l2norm(q) if normalise_q else q
    k = l2norm(k) if normalise_k else k
    return OJA(S, q, k, v, 0.0 if gv is None else gv, write_rate(beta, False, False), scale)
