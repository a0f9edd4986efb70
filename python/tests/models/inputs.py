"""Random inputs from the domains that a definition declares."""
import re

import numpy as np

# Odd and different, so that no two axes can be confused.
SIZES = dict(K=19, V=13, M=7, D=5, N=6, P=11, R=9, n=2)
REGIMES = ("weak", "strong", "zero", "minus60")


def size(dim, sizes=SIZES):
    """Evaluates a dimension: a name or an expression of names."""
    return eval(re.sub(r"'", "", dim), {}, dict(sizes))  # noqa: S307 - our own files


def gate(rng, shape, regime):
    """Natural-log gates of one regime; `minus60` has resets among weak gates."""
    weak = rng.uniform(-0.02, 0.0, shape)
    if regime == "weak":
        return weak
    if regime == "strong":
        return rng.uniform(-5.0, 0.0, shape)
    if regime == "zero":
        return np.zeros(shape)
    return np.where(rng.random(shape) < 0.3, -60.0, weak)


def unit(rng, shape, correlated):
    """Unit vectors along the last axis; cos = 0.9 between any two if `correlated`."""
    normalize = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    x = normalize(rng.standard_normal(shape))
    if not correlated:
        return x
    base = normalize(rng.standard_normal(shape[-1]))
    return normalize(np.sqrt(0.9) * base + np.sqrt(0.1) * x)


def draw(rng, argument, lead, regime="weak", correlated=False, sizes=SIZES):
    """One argument, [*lead, *dims], from its declared domain."""
    shape = (*lead, *(size(dim, sizes) for dim in argument.dims))
    low, high = argument.attrs.get("min"), argument.attrs.get("max")
    if argument.is_gate:
        return gate(rng, shape, regime)
    if argument.attrs.get("unit"):
        return unit(rng, shape, correlated)
    if low is not None and high is not None:
        return rng.uniform(low, high, shape)
    if low is not None:
        return low + np.abs(rng.standard_normal(shape))
    if high is not None:
        return high - np.abs(rng.standard_normal(shape))
    return rng.standard_normal(shape) * (0.5 if argument.is_param else 1.0)
