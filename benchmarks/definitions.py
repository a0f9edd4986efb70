"""Inputs of the library's definitions, drawn from the domains that they declare.

Log gates (``max = 0``) are weak, U(-0.02, 0), strong, U(-5, 0), or zero; arguments of
unit norm are independent or have cosines of about 0.9; numbers between two bounds are
uniform, others normal. Initial states are what the step itself leaves after three tokens
of other inputs, so they lie in their domain too. Everything is float64 on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from fla.lang import load
from fla.lang.dimensions import evaluate

__all__ = ["Case", "Call", "cases", "draw", "is_gated", "sizes_of"]

OFFSETS = (0, 37, 37, 165, 298)  # of 300 rows: an empty sequence, two that end inside a chunk, spare rows
LARGEST = 1e4  # a recurrence whose arguments have no domain may run away


@dataclass(frozen=True)
class Case:
    """One family of inputs."""

    name: str
    gates: str = "weak"
    correlated: bool = False
    packed: bool = False
    batch: int = 2
    tokens: int = 150
    heads: int = 2
    group: int = 1  # heads of the launch for one of q and k
    start: bool = True  # from a state


@dataclass
class Call:
    """Tensors by name, numbers by name, initial states and offsets."""

    tensors: dict
    values: dict = field(default_factory=dict)
    initial: tuple = ()
    offsets: tuple | None = None


def is_gated(definition) -> bool:
    return any(a.attrs.get("max") == 0.0 for a in definition.arguments)


def has_unit(definition) -> bool:
    return any("unit" in a.attrs for a in definition.arguments)


def cases(definition) -> list[Case]:
    """What a definition is tried on: gates, ragged T, packed sequences with groups of heads, like keys."""
    found = [Case("weak"), Case("packed", packed=True, batch=1, tokens=300, heads=4, group=2)]
    if is_gated(definition):
        found += [Case("strong", gates="strong"), Case("zero", gates="zero", start=False)]
    if has_unit(definition):
        found += [Case("alike", correlated=True)]
    return found


def sizes_of(definition, width: int) -> dict[str, int]:
    """Sizes of a definition's dimensions with K = V = width, or what stands for them."""
    names = {d for a in definition.arguments for d in a.dims}
    expressions = {d for s in definition.states for d in s.dims}
    quadratic = any("*D" in d.replace(" ", "") for d in expressions)
    usual = {"K": width, "V": width, "P": width, "M": 64, "R": width // 2, "D": 16 if quadratic else width,
             "N": width if "P" in names else 16}
    return {**usual, **definition.sizes}


def _unit(shape, correlated: bool, r) -> torch.Tensor:
    x = torch.nn.functional.normalize(torch.randn(*shape, generator=r, dtype=torch.float64), dim=-1)
    if correlated:
        x = torch.nn.functional.normalize((0.9 / shape[-1]) ** 0.5 + 0.1 ** 0.5 * x, dim=-1)
    return x


def _argument(a, shape, case: Case, r) -> torch.Tensor:
    low, high = a.attrs.get("min"), a.attrs.get("max")
    if "unit" in a.attrs:
        return _unit(shape, case.correlated, r)
    if high == 0.0:
        depth = {"weak": 0.02, "strong": 5.0, "zero": 0.0}[case.gates]
        return (-depth * torch.rand(*shape, generator=r, dtype=torch.float64)).clamp(min=-torch.inf if low is None else low)
    if low is not None and high is not None:
        return low + (high - low) * torch.rand(*shape, generator=r, dtype=torch.float64)
    x = torch.randn(*shape, generator=r, dtype=torch.float64) * (0.5 if a.kind == "param" else 1.0)
    return low + x.abs() if low is not None else high - x.abs() if high is not None else x


def _heads(a, case: Case) -> int:
    return case.heads // case.group if a.name in ("q", "k") else case.heads


def _tensors(definition, case: Case, sizes: dict, tokens: int, batch: int, r) -> dict:
    found = {}
    for a in definition.arguments:
        if a.kind == "value":
            continue
        inner = [evaluate(d, sizes) for d in a.dims]
        lead = [batch, tokens, _heads(a, case)] if a.kind == "token" else [case.heads]
        found[a.name] = _argument(a, [*lead, *inner], case, r)
    return found


def _calm(definition, tensors: dict) -> None:
    """Numbers move half way towards the point of their domain that is nearest to zero."""
    for a in definition.arguments:
        low, high = a.attrs.get("min"), a.attrs.get("max")
        if a.kind == "value" or high == 0.0 or "unit" in a.attrs:
            continue
        rest = min(max(0.0, low if low is not None else 0.0), high if high is not None else float("inf"))
        tensors[a.name] = rest + 0.5 * (tensors[a.name] - rest)


def _stays_small(op, call: Call) -> bool:
    results = run(op, call)
    return all(((x.abs() <= LARGEST) | (x == -torch.inf)).all() for x in results)


def run(op, call: Call, **kwargs) -> list[torch.Tensor]:
    """Outputs, then final states."""
    offsets = None if call.offsets is None else torch.tensor(call.offsets, device=next(iter(call.tensors.values())).device)
    initial = None if not call.initial else call.initial if len(call.initial) > 1 else call.initial[0]
    *outputs, final = op(**call.tensors, **call.values, initial_state=initial, cu_seqlens=offsets, output_final_state=True, **kwargs)
    return [*outputs, *(final if isinstance(final, tuple) else (final,))]


def draw(stem: str, case: Case, width: int, seed: int = 0, tried: bool = True) -> Call:
    """A call of a definition of the library; what runs away is drawn calmer.

    Without `tried` nothing is run: no initial states, and values may be large.
    """
    op, r = load(stem), torch.Generator().manual_seed(seed)
    definition = op.definition()
    sizes = sizes_of(definition, width)
    values = {"scale": width ** -0.5} if any(a.name == "scale" for a in definition.arguments) else {}
    offsets = OFFSETS if case.packed else None
    sequences = len(OFFSETS) - 1 if case.packed else case.batch
    before = _tensors(definition, Case("before", heads=case.heads, group=case.group), sizes, 3, sequences, r)
    tensors = _tensors(definition, case, sizes, case.tokens, case.batch, r)
    if not tried:
        return Call(tensors, values, (), offsets)
    for _ in range(12):
        for a in definition.arguments:  # a head's parameters are the same throughout
            if a.kind == "param":
                before[a.name] = tensors[a.name]
        initial = run(op, Call(before, values))[len(definition.outputs):] if case.start else []
        call = Call(tensors, values, tuple(x.detach() for x in initial), offsets)
        if _stays_small(op, call):
            break
        _calm(definition, before)
        _calm(definition, tensors)
    return call
