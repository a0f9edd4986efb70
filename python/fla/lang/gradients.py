"""Training on planned calls: a forward that keeps what the backward wants, and backwards that are planned too.

Gradients that were laid out alike before (which of them came, their strides) start the
backward's kernels at once; others go through the definition's backward operator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from . import devices
from .calls import keep
from .launches import Layout, Prepared
from .observers import GUARDED, direct, guards_of, is_plain, quiet
from .programs import gathered, inner_contiguous, needs_zeros

__all__ = ["Training", "run_forward"]


@dataclass(eq=False)
class Training:
    """What the backward of a planned call needs."""

    operators: object
    order: list  # of the operators' tensors in the call, None for absent ones
    saving: bool
    saved: list  # (byte, shape, dtype) of the chunk states in the tensor that the forward gives last
    values: list
    rest: tuple
    planned: dict = field(default_factory=dict)  # (guards, _Backward or None), by how the gradients lie

    def operands(self, tensors) -> list:
        """The operators' flat operands, of the tensors of a call."""
        n = len(self.order) - 1
        given = [None if i is None else tensors[i] for i in self.order]
        return [*given[:n], *self.values, given[n], *self.rest]

    def states(self, kept: torch.Tensor) -> list[torch.Tensor]:
        """The chunk states that a forward kept."""
        sizes = [torch.Size(shape).numel() * dtype.itemsize for _, shape, dtype in self.saved]
        return [kept[byte:byte + size].view(dtype).view(shape) for size, (byte, shape, dtype) in zip(sizes, self.saved)]

    def quickly(self, grads: tuple, kept: tuple, needed: tuple):
        """Gradients of the call's tensors from one launch, or None where only the operator gives them."""
        if not GUARDED or torch.is_grad_enabled():
            return None
        try:
            key = (needed, devices.precision(), *[None if g is None else g.stride() for g in grads])
        except RuntimeError:  # sparse gradients have no strides
            return None
        tensors = [*[g for g in grads if g is not None], *kept]
        guards, backward = self.planned.get(key, _UNKNOWN)
        if guards is None or not guards.check(*tensors) or not quiet():
            if not direct() or not all(map(is_plain, tensors)):
                return None
            backward = plan_backward(self, grads, kept, needed)
            keep(self.planned, key, (guards_of(tensors), backward))
        return None if backward is None else backward.run(tensors)


_UNKNOWN = (None, None)


class _Trained(torch.autograd.Function):
    """A planned call with a backward."""

    @staticmethod
    def forward(ctx, plan, *tensors):
        made, count = plan.prepared.start(tensors), plan.results
        ctx.set_materialize_grads(False)
        ctx.training = plan.training
        ctx.save_for_backward(*tensors, *made[count:])
        return made[:count]

    @staticmethod
    def backward(ctx, *grads):
        training, kept, needed = ctx.training, ctx.saved_tensors, ctx.needs_input_grad
        found = training.quickly(grads, kept, needed)
        if found is not None:
            return found
        states = training.states(kept[-1]) if training.saving else []
        out = training.operators.gradients_of(training.operands(kept), states, training.saving, grads)
        by_place = {i: d for i, d in zip(training.order, out) if i is not None}
        return (None, *(by_place.get(i) if wanted else None for i, wanted in enumerate(needed[1:])))


# Past Function.apply, which looks for transforms: a planned call is under none.
run_forward = super(torch.autograd.Function, _Trained).apply


class _Backward:
    """A launch of a backward, and how gradients come of what it makes."""

    __slots__ = ("prepared", "copied", "finishes")

    def __init__(self, prepared: Prepared, copied: list[int], finishes: list):
        self.prepared, self.copied, self.finishes = prepared, copied, finishes

    def run(self, tensors: list) -> tuple:
        for i in self.copied:
            tensors[i] = tensors[i].contiguous()
        made = self.prepared.start(tensors)
        return (None, *[None if finish is None else finish(made) for finish in self.finishes])


def plan_backward(training: Training, grads: tuple, kept: tuple, needed: tuple) -> _Backward | None:
    """The launch for gradients that lie like these, or None where it takes more than one."""
    planner = _Planner(training, grads, kept, needed)
    if not all([planner.add(spec) for spec in planner.program.args]):
        return None
    return planner.done()


class _Planner:
    """Lays a backward out. Its tensors are the gradients that came, then those of the call, then what it kept."""

    def __init__(self, training: Training, grads: tuple, kept: tuple, needed: tuple):
        self.training, self.kept, self.needed = training, kept, needed[1:]
        self.operators = training.operators
        self.x = self.operators.split(training.operands(kept))
        self.program, self.sizes = self.operators.backward_program(self.x, training.saving)
        self.layout = Layout(self.program, self.sizes, self.x.device)
        came = [i for i, g in enumerate(grads) if g is not None]
        self.first = len(came)
        rows = [("d_output", spec.key) for spec in self.program.rows("d_output")]
        rows += [("d_final_state", s.name) for s in self.operators.definition.states]
        self.grads = {rows[i]: (grads[i], place) for place, i in enumerate(came)}
        self.where = dict(zip(self.operators.operand_names, training.order))
        self.kinds = {a.name: a.kind for a in self.operators.inputs}
        self.states = self._states()
        self.copied: list[int] = []
        self.results: list[int] = []  # gradients, as indices into what is made
        self.pieces: dict[int, list] = {}  # (row, its place in results) by tensor of the call

    def _states(self) -> dict:
        """(byte, tensor) of the chunk states by name."""
        if not self.training.saving:
            return {}
        names = [spec.key for spec in self.operators.saved_rows(self.x)]
        return dict(zip(names, zip([byte for byte, _, _ in self.training.saved], self.training.states(self.kept[-1]))))

    def add(self, spec) -> bool:
        """Adds a row; False where one launch does not do."""
        if spec.kind == "value" and spec.role == "input":
            self.layout.number(self.x.values[spec.name])
        elif spec.role in ("input", "initial_state"):
            self._given(spec)
        elif spec.role in ("d_output", "d_final_state"):
            return self._gradient(spec)
        elif spec.role == "saved":
            byte, t = self.states[spec.key]
            self.layout.read(spec, t, self.first + len(self.kept) - 1, byte)
        elif spec.role == "temp":
            self.layout.share(spec, "temp")
        else:
            self._result(spec)
        return True

    def _read(self, spec, t: torch.Tensor, position: int) -> None:
        dense = inner_contiguous(t, len(spec.shape))
        if dense is not t:
            self.copied.append(position)
        self.layout.read(spec, dense, position)

    def _given(self, spec) -> None:
        position = self.where[(spec.role, spec.key)]
        if position is None:
            self.layout.leave_out()
        else:
            self._read(spec, self.kept[position], self.first + position)

    def _gradient(self, spec) -> bool:
        """What came, on all heads and in the kernel's type; what did not is zero to a kernel."""
        g, place = self.grads.get((spec.role, spec.key), (None, 0))
        if g is None:
            self.layout.leave_out()
            return True
        if g.dtype != spec.dtype or list(g.shape) != self.sizes.extents(spec, self.program.chunk):
            return False
        self._read(spec, g, place)
        return True

    def _result(self, spec) -> None:
        """A gradient, or a piece of one, that somebody wants."""
        position = self.where[("input" if spec.role == "d_input" else "initial_state", spec.key)]
        if position is None or not self.needed[position]:
            self.layout.leave_out()
            return
        self.pieces.setdefault(position, []).append((spec, len(self.results)))
        self.results.append(self.layout.make(spec, needs_zeros(spec, self.x.cu_seqlens is not None)))

    def done(self) -> _Backward:
        offsets = None if self.x.cu_seqlens is None else self.first + self.training.order[-1]
        finishes = [self._finish(i, t) if wanted else None for i, (t, wanted) in enumerate(zip(self.kept, self.needed))]
        prepared = Prepared(self.layout, devices.index_of(self.x.device), self.results, offsets)
        return _Backward(prepared, self.copied, finishes)

    def _finish(self, position: int, t: torch.Tensor):
        """made -> the gradient of `t`: itself, converted, or a sum of what the kernels give."""
        pieces, shape, dtype, device = self.pieces.get(position), tuple(t.shape), t.dtype, t.device
        if pieces is None:  # no result depends on it
            return lambda made: torch.zeros(shape, dtype=dtype, device=device)
        (spec, index), *more = pieces
        # Kernels give a parameter's gradient a sequence at a time, as states are.
        kind = "state" if spec.role == "d_initial_state" else self.kinds[spec.key]
        own = kind != "param" and shape[2 if kind == "token" else 1] == self.sizes.heads
        if own and not more and not spec.partial:
            return (lambda made: made[index]) if spec.dtype == dtype else (lambda made: made[index].to(dtype))

        def total(made: tuple) -> torch.Tensor:
            d = gathered([(spec, made[i]) for spec, i in pieces])[spec.role][spec.key]
            return self.operators.gradient(kind, d, shape, dtype)
        return total
