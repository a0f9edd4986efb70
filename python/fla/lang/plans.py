"""Calls on a GPU that were seen before: one look-up, the new tensors, one launch.

The whole path of a call checks its arguments, chooses a program and goes through
the operator that torch.compile and other observers see. When none is at work and an
equal call (shapes, strides, dtypes, devices, other arguments) came before, all of
that is known and only addresses differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch.autograd import forward_ad

from .. import knobs
from . import devices
from .calls import keep
from .programs import NOTHING, inner_contiguous, needs_zeros, row_of, sizes_of

__all__ = ["Plan", "Plans", "fingerprint", "is_compiling", "plan_of"]

_PLAIN = frozenset((torch.Tensor, torch.nn.Parameter))
_ATOMS = frozenset((bool, int, str, type(None)))


def _direct() -> bool:
    """Whether nothing watches operators: no mode, transform, trace or compiler."""
    return not (torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack()
                or torch._C._len_torch_function_stack() or forward_ad._current_level >= 0
                or torch._C._functorch.peek_interpreter_stack() is not None
                or torch._C._get_tracing_state() is not None)


def _note(values, key: list, tensors: list) -> bool:
    """Adds what a launch depends on; False for what only the whole path handles."""
    for x in values:
        kind = type(x)
        if kind in _PLAIN:
            if x.is_neg():
                return False
            tensors.append(x)
            key += (x.shape, x.stride(), x.dtype, x.get_device())
        elif kind in _ATOMS:
            key += (kind, x)
        elif kind is float and x:  # 0.0 and -0.0 are equal keys
            key.append(x)
        elif kind is tuple or kind is list:
            key.append(len(x))
            if not _note(x, key, tensors):
                return False
        else:
            return False
    return True


def fingerprint(args: tuple, kwargs: dict):
    """(key, tensors in the order given) of a call on a GPU, or None."""
    if not _direct():
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


# torch.compile's check of a list of tensors: type, dispatch keys, dtype, device, sizes, strides.
_Guards = getattr(getattr(torch._C, "_dynamo", None) and torch._C._dynamo.guards, "TensorGuards", None)


def _guards(tensors: list):
    """Answers `check(*tensors)`: whether tensors are alike these, for a launch."""
    return _Guards(*tensors, dynamic_dims_sizes=[list(t.shape) for t in tensors],
                   dynamic_dims_strides=[list(t.stride()) for t in tensors])


def _quiet() -> bool:
    """What guards do not see of `_direct`."""
    return not (forward_ad._current_level >= 0 or torch._C._len_torch_function_stack()
                or torch._C._get_tracing_state() is not None)


def _outline(args: tuple, kwargs: dict):
    """(what a call is but for its tensors, they) or None where only a fingerprint tells."""
    key, tensors = [devices.precision(), torch.is_grad_enabled(), len(args), *kwargs], []
    for x in (*args, *kwargs.values()) if kwargs else args:
        kind = type(x)
        key.append(kind)
        if kind in _PLAIN:
            tensors.append(x)
        elif kind in _ATOMS or kind is float and x:
            key.append(x)
        else:
            return None
    if not tensors:
        return None
    key.append(tensors[0].shape)
    return tuple(key), tensors


class Plans:
    """The plans of one recurrence."""

    def __init__(self):
        self.known: dict = {}  # plan, or None where there is none, by fingerprint
        self.recent: dict = {}  # (guards, plan, rule) by outline

    def run(self, args: tuple, kwargs: dict):
        """The result of a call that was seen before, or None."""
        outline = _outline(args, kwargs) if _Guards is not None else None
        if outline is not None:
            key, tensors = outline
            recent = self.recent.get(key)
            if recent is not None and recent[0].check(*tensors) and _quiet():
                plan = recent[1]
                if plan.training is None or knobs.get("states") == recent[2]:
                    return plan.run(tensors)
        seen = fingerprint(args, kwargs)
        plan = self.known.get(seen[0]) if seen else None
        if plan is None:
            return None
        if outline is not None:
            rule = knobs.get("states") if plan.training is not None else ""
            keep(self.recent, key, (_guards(tensors), plan, rule))
        return plan.run(seen[1])

    def add(self, args: tuple, kwargs: dict, make) -> None:
        """Remembers a call that went through; `make(tensors)` plans it."""
        seen = fingerprint(args, kwargs)
        if seen and seen[0] not in self.known:
            keep(self.known, seen[0], make(seen[1]))


is_compiling = torch.compiler.is_compiling

_empty_on_current = getattr(getattr(torch._C, "_dynamo", None) and torch._C._dynamo.guards, "_empty_strided_cuda", None)


def _allocator(index: int, device: torch.device):
    """(shape, strides, dtype) -> an uninitialised dense tensor, the quickest way that this PyTorch has."""
    if _empty_on_current is not None and device.type == "cuda" and torch._C._cuda_getDevice() == index:
        return _empty_on_current
    return lambda shape, strides, dtype: torch.empty(shape, dtype=dtype, device=device)


class Plan:
    """A launch with its addresses left open."""

    __slots__ = ("index", "device", "launcher", "addresses", "sources", "values", "made", "offsets", "indices",
                 "results", "finals", "updated", "training")

    def __init__(self, index: int, device: torch.device):
        self.index, self.device = index, device
        self.launcher = None
        self.addresses: list[int] = []
        self.sources: list[tuple[int, int]] = []  # (row, tensor of the call)
        self.values: list[tuple[int, float]] = []  # (row, number)
        self.made: list[tuple] = []  # (row, whether zeroed, shape, strides, dtype)
        self.offsets: int | None = None  # tensor of the call
        self.indices: int | None = None  # tensor of the call
        self.results: list[int] = []  # outputs, then the final states that are wanted, as indices into made
        self.finals = 0  # how many of them are final states
        self.updated: list[int] = []  # states written in place, as tensors of the call
        self.training: _Training | None = None

    def run(self, tensors: list):
        """What the call returns."""
        if self.training is None:
            made = self.launch(tensors)
            flat = [made[i] for i in self.results]
        else:
            flat = _Trained.apply(self, *tensors)
        if self.updated:
            outputs, finals = flat, [tensors[i] for i in self.updated]
        elif self.finals == 0:
            return (*flat, None)
        else:
            outputs, finals = flat[:-self.finals], flat[-self.finals:]
        return (*outputs, finals[0] if len(finals) == 1 else tuple(finals))

    def launch(self, tensors) -> list[torch.Tensor]:
        """Starts the kernels; the tensors made for them."""
        stream = devices.stream_of(self.index)
        addresses = self.addresses.copy()
        for row, i in self.sources:
            addresses[row] = tensors[i].data_ptr()
        held = []
        for row, value in self.values:
            addresses[row], cell = devices.value_address(value, self.index, stream)
            held.append(cell)
        made, empty = [], _allocator(self.index, self.device)
        for row, zeros, shape, strides, dtype in self.made:
            t = torch.zeros(shape, dtype=dtype, device=self.device) if zeros else empty(shape, strides, dtype)
            addresses[row] = t.data_ptr()
            made.append(t)
        offsets = indices = 0
        if self.offsets is not None:
            cu_seqlens = tensors[self.offsets].to(torch.int64).contiguous()
            offsets = cu_seqlens.data_ptr()
        if self.indices is not None:
            state_indices = tensors[self.indices].to(torch.int64).contiguous()
            indices = state_indices.data_ptr()
        self.launcher.launch(addresses, offsets, stream, indices)
        return made


class _Training(NamedTuple):
    """What the backward of a planned call needs."""

    operators: object
    order: list  # of the operators' tensors in the call, None for absent ones
    saving: bool
    saved: list  # chunk states, as indices into made
    values: list
    rest: tuple


class _Trained(torch.autograd.Function):
    """A planned call with a backward: that of the definition's operators."""

    @staticmethod
    def forward(ctx, plan: Plan, *tensors):
        made, facts = plan.launch(tensors), plan.training
        ctx.set_materialize_grads(False)
        ctx.plan, ctx.saving, ctx.values, ctx.rest = plan, facts.saving, facts.values, facts.rest
        given = [None if i is None else tensors[i] for i in facts.order]
        ctx.save_for_backward(*given, *[made[i] for i in facts.saved])
        return tuple([made[i] for i in plan.results])

    @staticmethod
    def backward(ctx, *grads):
        facts = ctx.plan.training
        out = facts.operators.differentiate(ctx, *grads)
        by_place = {i: d for i, d in zip(facts.order, out) if i is not None}
        return (None, *(by_place.get(i) if needed else None for i, needed in enumerate(ctx.needs_input_grad[1:])))


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
    plan, flat, made = Plan(place.index, operands.device), [], {}
    for row, spec in enumerate(program.args):
        if spec.kind == "value" and spec.role == "input":
            plan.values.append((row, operands.values[spec.name]))
            flat += NOTHING
        elif spec.role in ("input", "initial_state") or spec.role == "final_state" and operands.update:
            found = _source(spec, operands, states, where)
            if found is None:
                flat += NOTHING
                continue
            t, position = found
            if not _is_callers(t, position, tensors, trains) or inner_contiguous(t, len(spec.shape)) is not t:
                return None
            plan.sources.append((row, position))
            flat += row_of(t, spec)
        elif spec.role == "final_state" and not operands.finals:
            flat += NOTHING
        else:
            shape = launch.extents(spec, program.chunk)
            # Shares of a result that the caller adds, and states of which it takes some heads.
            grouped = spec.role == "final_state" and shape != shapes[states[spec.key]]
            if spec.partial or grouped or (spec.role, spec.key) in made:
                return None
            made[(spec.role, spec.key)] = len(plan.made)
            like = torch.empty(shape, dtype=spec.dtype, device="meta")
            plan.made.append((row, needs_zeros(spec, sparse), tuple(shape), like.stride(), spec.dtype))
            flat += row_of(like, spec)
    plan.offsets = where["cu_seqlens"] if packed else None
    plan.indices = where["state_indices"] if operands.indices is not None else None
    plan.results = [made[("output", spec.key)] for spec in program.rows("output")]
    if operands.update:
        plan.updated = [where[("state", i)] for i in range(len(states))]
    elif operands.finals:
        plan.finals = len(states)
        plan.results += [made[("final_state", name)] for name in states]
    if trains:
        order = [where.get(a.name) for a in operators.inputs]
        order += [where.get(("state", i)) for i in range(len(states))] + [plan.offsets]
        saved = [made[("saved", spec.key)] for spec in program.rows("saved")] if saving else []
        rest = (operands.free, operands.form, operands.chunk, operands.finals)
        plan.training = _Training(operators, order, saving, saved, list(operands.values.values()), rest)
    plan.addresses = [0] * len(program.args)
    pool = operands.initial[0].shape[0] if operands.indices is not None else 0
    plan.launcher = program.launcher(flat, sizes_of(replace(launch, states=pool)), place.index)
    return plan


def _is_callers(t: torch.Tensor, position: int | None, tensors: list, trains: bool) -> bool:
    """Whether a launch can read the caller's own memory (and a gradient takes the caller's shape)."""
    if position is None or t.data_ptr() != tensors[position].data_ptr():
        return False
    return not trains or t.dim() == tensors[position].dim()
