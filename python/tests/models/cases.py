"""Problems for whole batches, and what the oracle says of them."""
from dataclasses import dataclass, field

import inputs
import numpy as np
import oracles
import signature

WARM_UP = 5


def relative_error(a, b):
    """|a - b| / (|b| + 1e-6 sqrt(n)), Euclidean."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not np.all(np.isfinite(a)):
        return np.inf
    return np.linalg.norm(a - b) / (np.linalg.norm(b) + 1e-6 * np.sqrt(b.size)) if b.size else 0.0


@dataclass
class Case:
    """Arguments [B, T, H, ...], parameters [H, ...], states [N, H, ...]; numpy, float64."""

    definition: signature.Signature
    tokens: dict
    params: dict
    values: dict
    initial: tuple | None
    offsets: list | None = None
    output_shape: tuple = ()
    expected: np.ndarray | None = None
    finals: list = field(default_factory=list)

    @property
    def tensors(self):
        return {**self.tokens, **self.params}


def rounded(x, dtype):
    return x.astype(dtype).astype(np.float64)


def make(stem, batch, length, heads, regime="weak", correlated=False, initial=True, absent=(), offsets=None,
         dtype=np.float64, seed=0):
    """A case whose inputs are representable in `dtype`, with the oracle's answer.

    Initial states are what a few random tokens leave behind: any state drawn
    blindly may be one that the recurrence never reaches (a negative sum of
    positive terms).
    """
    definition = signature.read(stem)
    rng = np.random.default_rng(seed)
    scale = round(inputs.SIZES["K"] ** -0.5, 3)
    values = {a.name: scale for a in definition.arguments if a.name == "scale"}
    given = [a for a in definition.arguments if not a.is_value and a.name not in absent]
    draw = lambda a, lead, how: rounded(inputs.draw(rng, a, lead, how, correlated), dtype)
    params = {a.name: draw(a, (heads,), regime) for a in given if a.is_param}
    case = Case(definition, {}, params, values, None, offsets)
    sequences = batch if offsets is None else len(offsets) - 1
    case.tokens = {a.name: draw(a, (sequences, WARM_UP, heads), "weak") for a in given if not a.is_param}
    case.offsets = None
    before, states = solve(case)
    case.output_shape, case.offsets = before.shape[3:], offsets
    if initial:
        case.initial = tuple(rounded(s, dtype) for s in states)
    case.tokens = {a.name: draw(a, (batch, length, heads), regime) for a in given if not a.is_param}
    case.expected, case.finals = solve(case)
    return case


def solve(case):
    """The oracle on every sequence and head: (o [B, T, H, ...], states [N, H, ...])."""
    some = next(iter(case.tokens.values()))
    batch, length, heads = some.shape[:3]
    pieces = [(b, 0, length) for b in range(batch)]
    if case.offsets is not None:
        pieces = [(0, start, end) for start, end in zip(case.offsets, case.offsets[1:])]
    outputs, finals = {}, [[] for _ in case.definition.states]
    for n, (b, start, end) in enumerate(pieces):
        for h in range(heads):
            o, states = one(case, n, b, start, end, h)
            outputs[b, start, end, h] = o
            for i, state in enumerate(states):
                finals[i].append(state)
    shape = next((np.shape(o[0]) for o in outputs.values() if len(o)), case.output_shape)
    result = np.zeros((batch, length, heads, *shape))
    for (b, start, end, h), o in outputs.items():
        if len(o):
            result[b, start:end, h] = np.array(o)
    return result, [np.array(f).reshape(len(pieces), heads, *np.shape(f[0])) for f in finals]


def one(case, n, b, start, end, h):
    """One head of one sequence: (outputs, states)."""
    arguments = {name: x[b, start:end, h] for name, x in case.tokens.items()}
    arguments.update({name: x[h] for name, x in case.params.items()})
    arguments.update(case.values)
    if case.initial is not None:
        arguments.update({s.name: x[n, h] for s, x in zip(case.definition.states, case.initial)})
    return getattr(oracles, case.definition.name)(**arguments)
