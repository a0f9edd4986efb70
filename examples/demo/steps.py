"""A step written for the demo, and the same step with a mistake in it."""

from __future__ import annotations

from fla.lang import Scalar, State, Vec, exp, outer, recurrence, sigmoid, unit


@recurrence
def doubly_gated_delta(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Vec["K"], h: Vec["V"],
                       beta: Scalar):
    k = unit(k)
    S = sigmoid(g) * S * sigmoid(h)
    S = S + outer(k, sigmoid(beta) * (v - S.T @ k))
    return S, S.T @ q


@recurrence
def quadratic(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar):
    error = v - S.T @ k
    S = exp(g) * S + outer(k, error * error)
    return S, S.T @ q
