"""Gated DeltaNet-2 with what its callers want done to its arguments first."""

from __future__ import annotations

from fla.lang import Param, State, Vec, l2norm, load, recurrence

from .._steps import channel_gate

__all__ = ["gdn2"]

GDN2 = load("gdn2")


@recurrence
def gdn2(
    S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Vec["K"], b: Vec["K"], w: Vec["V"],
    A_log: Param[()] | None = None, dt_bias: Param["K"] | None = None, *, scale: float = 1.0,
    lower_bound: float = -5.0, gate: str = "given", normalise: bool = False,
):
    if normalise:
        q, k = l2norm(q), l2norm(k)
    if gate != "given":
        g = channel_gate(g, A_log, dt_bias, gate == "bounded", lower_bound)
    return GDN2(S, q, k, v, g, b, w, scale)
