"""Calls on a GPU that were seen before: one look-up, then one launch.

The whole path of a call checks its arguments, chooses a program and goes through
the operator that torch.compile and other observers see. When none is at work and an
equal call (shapes, strides, dtypes, devices, other arguments) came before, all of
that is known and only addresses differ.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from .. import _native, knobs
from . import devices
from .calls import keep
from .gradients import Training, run_forward
from .launches import Layout, Prepared
from .observers import GUARDED, direct, guards_of, is_plain, quiet
from .programs import inner_contiguous, needs_zeros

__all__ = ["Plan", "Plans", "fingerprint", "plan_of"]

_TENSORS = frozenset((torch.Tensor, torch.nn.Parameter))
_ATOMS = (bool, int, str, type(None), float)
_RECENT = 16


def _note(values, key: list, tensors: list) -> bool:
    """Adds what a launch depends on; False for what only the whole path handles."""
    for x in values:
        kind = type(x)
        if kind in _TENSORS:
            if not is_plain(x):
                return False
            tensors.append(x)
            key += (x.shape, x.stride(), x.dtype, x.get_device())
        elif kind in _ATOMS and (x or kind is not float):  # 0.0 and -0.0 are equal keys
            key += (kind, x)
        elif kind is tuple or kind is list:
            key.append(len(x))
            if not _note(x, key, tensors):
                return False
        else:
            return False
    return True


def fingerprint(args: tuple, kwargs: dict):
    """(key, tensors in the order given) of a call on a GPU, or None."""
    if not direct():
        return None
    key, tensors = [devices.precision(), len(args), *kwargs], []
    try:
        if not _note(args, key, tensors) or kwargs and not _note(kwargs.values(), key, tensors):
            return None
    except RuntimeError:  # a sparse tensor has no strides
        return None
    if not tensors or not devices.is_gpu(tensors[0].device):
        return None
    if torch.is_grad_enabled():
        wanted = [x.requires_grad for x in tensors]
        if True in wanted:
            key += (*wanted, knobs.get("states"))
    return tuple(key), tensors


class Plans:
    """The plans of one recurrence."""

    def __init__(self):
        self.known: dict = {}  # plan, or None where there is none, by fingerprint
        # (plan, its rule for states) of the latest calls without lists, by arguments and guards.
        self.recent = _native.native().Calls(tuple(_TENSORS), _RECENT)

    def run(self, args: tuple, kwargs: dict):
        """The result of a call that was seen before, or None."""
        setting = (devices.precision(), torch.is_grad_enabled())
        found = self.recent.find(args, kwargs, setting)
        if found is not None and quiet():
            (plan, rule), tensors = found
            if rule is None or knobs.get("states") == rule:
                return plan.run(tensors)
        seen = fingerprint(args, kwargs)
        plan = self.known.get(seen[0]) if seen else None
        if plan is None:
            return None
        if GUARDED and found is None:
            rule = knobs.get("states") if plan.training is not None else None
            self.recent.add(args, kwargs, setting, _ATOMS, guards_of(seen[1]).check, (plan, rule))
        return plan.run(seen[1])

    def add(self, args: tuple, kwargs: dict, make) -> None:
        """Remembers a call that went through; `make(tensors)` plans it."""
        seen = fingerprint(args, kwargs)
        if seen and seen[0] not in self.known:
            keep(self.known, seen[0], make(seen[1]))


class Plan:
    """A launch and what the call returns of it.

    results: how many outputs and wanted final states the launch gives first.
    finals: how many of them are final states.
    updated: states written in place, as tensors of the call.
    """

    __slots__ = ("prepared", "results", "finals", "updated", "training")

    def __init__(self, prepared: Prepared, results: int, finals: int, updated: list[int], training: Training | None):
        self.prepared, self.results, self.finals, self.updated, self.training = prepared, results, finals, updated, training

    def run(self, tensors: list):
        """What the call returns."""
        flat = self.prepared.start(tensors) if self.training is None else run_forward(self, *tensors)
        if self.updated:
            outputs, finals = flat, [tensors[i] for i in self.updated]
        elif self.finals == 0:
            return (*flat, None)
        else:
            outputs, finals = flat[:-self.finals], flat[-self.finals:]
        return (*outputs, finals[0] if len(finals) == 1 else tuple(finals))


def _positions(parameters: list, args: tuple, kwargs: dict) -> dict:
    """Where the tensors of a call come in its fingerprint: by name, states as ("state", i)."""
    ordered = [p.name for p in parameters if p.role != "state" and not p.keyword_only]
    where, count = {}, 0
    for name, x in (*zip(ordered, args), *kwargs.items()):
        several = isinstance(x, (tuple, list))
        for i, item in enumerate(x if several else (x,)):
            if isinstance(item, torch.Tensor):
                where[("state", i) if name == "initial_state" else name] = count
                count += 1
    return where


def _source(spec, operands, states: dict, where: dict):
    """(tensor, its place in the call) that a row reads or updates; None when the call leaves it out."""
    if spec.role == "input":
        return operands.tensors[spec.key], where.get(spec.key)
    position = states[spec.key]
    t = operands.initial[position]
    return None if t is None else (t, where.get(("state", position)))


def _is_callers(t: torch.Tensor, position: int | None, tensors: list, trains: bool) -> bool:
    """Whether a launch can read the caller's own memory (and a gradient takes the caller's shape)."""
    if position is None or t.data_ptr() != tensors[position].data_ptr():
        return False
    return not trains or t.dim() == tensors[position].dim()


def plan_of(parameters: list, args: tuple, kwargs: dict, operators, operands, trains: bool, saving: bool,
            tensors: list) -> Plan | None:
    """The plan of a call that went through, or None where a call does more than one launch."""
    program, launch, shapes = operators.prepare(operands, saving)
    place = devices.place_of(operands.device)
    if place is None or launch.batch == 0 or launch.tokens == 0 or launch.sequences == 0:
        return None
    where, packed = _positions(parameters, args, kwargs), operands.cu_seqlens is not None
    sparse = packed or operands.indices is not None
    states = {s.name: i for i, s in enumerate(operators.definition.states)}
    pool = operands.initial[0].shape[0] if operands.indices is not None else 0
    layout, made, kept, saved = Layout(program, replace(launch, states=pool), operands.device), {}, None, []
    for spec in program.args:
        if spec.kind == "value" and spec.role == "input":
            layout.number(operands.values[spec.name])
        elif spec.role in ("input", "initial_state") or spec.role == "final_state" and operands.update:
            found = _source(spec, operands, states, where)
            if found is None:
                layout.leave_out()
                continue
            t, position = found
            if spec.alike:
                return None
            if not _is_callers(t, position, tensors, trains) or inner_contiguous(t, len(spec.shape)) is not t:
                return None
            layout.read(spec, t, position)
        elif spec.role == "final_state" and not operands.finals:
            layout.leave_out()
        elif spec.role == "saved":
            kept, byte = layout.share(spec, "saved")
            saved.append((byte, tuple(launch.extents(spec, program.chunk)), spec.dtype))
        elif spec.role == "temp":
            layout.share(spec, "temp")
        else:
            grouped = spec.role == "final_state" and launch.extents(spec, program.chunk) != shapes[states[spec.key]]
            # Shares of a result that the caller adds, and states of which it takes some heads.
            if spec.partial or grouped or (spec.role, spec.key) in made:
                return None
            made[(spec.role, spec.key)] = layout.make(spec, needs_zeros(spec, sparse))
    results = [made[("output", spec.key)] for spec in program.rows("output")]
    finals = len(states) if operands.finals and not operands.update else 0
    results += [made[("final_state", name)] for name in list(states)[:finals]]
    updated = [where[("state", i)] for i in range(len(states))] if operands.update else []
    training, kept = None, [] if kept is None else [kept]
    if trains:
        order = [where.get(a.name) for a in operators.inputs]
        order += [where.get(("state", i)) for i in range(len(states))] + [where["cu_seqlens"] if packed else None]
        rest = (operands.free, operands.form, operands.chunk, operands.finals)
        training = Training(operators, order, saving, saved, list(operands.values.values()), rest)
    prepared = Prepared(layout, place.index, results + kept, where["cu_seqlens"] if packed else None,
                        where["state_indices"] if operands.indices is not None else None)
    return Plan(prepared, len(results), finals, updated, training)
