"""Each definition as torch.library operators: forward, fake, backward, autograd.

For a definition with inputs q, k and a state S there are

    fla::name_hash        (Tensor in_q, ..., Tensor? state_S, ..., bool finals) -> (Tensor o, Tensor S)
    fla::name_hash_saving the same, with the chunk states that the backward wants
    fla::name_hash_backward
    fla::name_hash_pool   states are chosen by indices and updated in place; without a backward

The hash is that of the definition's text, so redefining a step makes new
operators and never changes old ones.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch

from .. import knobs
from . import devices
from .ahead import begin
from .calls import (DTYPES, Bound, check_indices, check_offsets, free_names, head_counts, keep, state_dtype,
                    state_heads)
from .definition import Definition
from .dimensions import evaluate, solve_sizes
from .programs import Launch, Program, compile_program, run_program

__all__ = ["Operators", "operators_of", "flat_operands", "training", "call_operator"]

# Sequences up to this many tokens run token by token under form="auto".
SHORT = 16
BLOCK_COLUMNS = 64  # fewest columns of a GPU's block: 16 a warp


@dataclass(frozen=True)
class Operands:
    """An operator's flat operands, by what they are; `free` lists sizes as text.

    indices: which state of `initial` each sequence has, None for its own.
    update: whether final states are written where the initial ones are.
    """

    tensors: dict
    initial: list
    values: dict
    cu_seqlens: object
    free: str
    form: str
    chunk: int
    finals: bool
    indices: torch.Tensor | None = None
    update: bool = False

    @property
    def device(self) -> torch.device:
        """Where all tensors of the call lie."""
        return next(iter(self.tensors.values())).device


class Operators:
    """The operators of one definition with one choice of optional inputs."""

    def __init__(self, definition: Definition, absent: tuple[str, ...]):
        self.definition, self.absent = definition, absent
        present = [a for a in definition.arguments if a.name not in absent]
        self.inputs = [a for a in present if a.kind != "value"]
        self.values = [a for a in present if a.kind == "value"]
        self.free = free_names(definition)
        self._programs: dict[tuple, Program] = {}
        self._begun: set[tuple] = set()  # keys of programs that another thread makes
        self._prepared: dict[tuple, tuple[Program, Launch, list]] = {}
        digest = hashlib.sha256((definition.digest + repr(sorted(absent))).encode()).hexdigest()[:12]
        self.name = f"fla::{definition.name}_{digest}"

    # Schemas.
    def _operand_schema(self, updated: bool = False) -> str:
        parts = [f"Tensor in_{a.name}" for a in self.inputs]
        parts += [f"{f'Tensor(a{i}!)' if updated else 'Tensor?'} state_{s.name}"
                  for i, s in enumerate(self.definition.states)]
        parts += [f"float value_{a.name}" for a in self.values]
        return ", ".join([*parts, "Tensor? cu_seqlens", "str free", "str form", "int chunk", "bool finals"])

    def _results(self) -> int:
        return len(self.definition.outputs) + len(self.definition.states)

    def split(self, flat) -> Operands:
        n, s, v = len(self.inputs), len(self.definition.states), len(self.values)
        return Operands({a.name: t for a, t in zip(self.inputs, flat)}, list(flat[n:n + s]),
                        {a.name: x for a, x in zip(self.values, flat[n + s:n + s + v])}, *flat[n + s + v:])

    @cached_property
    def forward(self):
        return self._register_forward(saving=False)

    @cached_property
    def saving(self):
        return self._register_forward(saving=True)

    def _register_forward(self, saving: bool):
        returns = ["Tensor"] * self._results() + ["Tensor[]"] * saving
        schema = f"({self._operand_schema()}) -> ({', '.join(returns)})"

        def run(*flat):
            return self._only(self._run(self.split(flat), saving))

        def fake(*flat):
            return self._only(self._fake(self.split(flat), saving))

        def setup(ctx, inputs, output):
            self._remember(ctx, inputs, output, saving)

        name = self.name + ("_saving" if saving else "")
        op = torch.library.custom_op(name, run, mutates_args=(), schema=schema)
        op.register_fake(fake)
        op.register_autograd(self.differentiate, setup_context=setup)
        self.backward  # registered before anything can need it
        return op

    @cached_property
    def pool(self):
        """The forward on a pool of states: only outputs are returned."""
        schema = (f"({self._operand_schema(updated=True)}, Tensor? state_indices, bool update) -> "
                  f"({', '.join(['Tensor'] * len(self.definition.outputs))})")

        def run(*flat):
            return self._only(self._run_on_pool(self.split(flat)))

        def fake(*flat):
            return self._only(self._fake(self.split(flat), False)[:len(self.definition.outputs)])

        op = torch.library.custom_op(self.name + "_pool", run, mutates_args=self._state_names(), schema=schema)
        op.register_fake(fake)
        return op

    @cached_property
    def operand_names(self) -> list[tuple[str, str]]:
        """(role, name) of the operators' first tensors."""
        return [("input", a.name) for a in self.inputs] + [("initial_state", s.name) for s in self.definition.states]

    def _state_names(self) -> tuple[str, ...]:
        return tuple(f"state_{s.name}" for s in self.definition.states)

    @staticmethod
    def _only(results):
        """As torch.library wants it: a single result without a tuple."""
        return results[0] if len(results) == 1 else tuple(results)

    @cached_property
    def backward(self):
        outputs, states = len(self.definition.outputs), len(self.definition.states)
        parts = [f"Tensor? grad_{i}" for i in range(outputs)] + [f"Tensor? final_grad_{i}" for i in range(states)]
        schema = (f"({', '.join(parts)}, Tensor[] saved, bool use_saved, {self._operand_schema()}) -> "
                  f"({', '.join(['Tensor'] * (len(self.inputs) + states))})")

        def run(*flat):
            return self._only(self._run_backward(flat))

        def fake(*flat):
            operands = self.split(flat[outputs + states + 2:])
            return self._only(self._empty_gradients(operands))

        op = torch.library.custom_op(self.name + "_backward", run, mutates_args=(), schema=schema)
        op.register_fake(fake)
        op.register_autograd(self._refuse_twice)
        return op

    # Sizes.
    def _inner(self, argument, x: Operands):
        t = x.tensors[argument.name]
        return t.shape[t.dim() - len(argument.dims):]

    def _sizes(self, x: Operands) -> dict[str, int]:
        sizes = {**self.definition.sizes, **{n: int(v) for n, v in zip(self.free, x.free.split())}}
        observed = [(d, int(s)) for a in self.inputs if a.dims
                    for d, s in zip(a.dims, self._inner(a, x))]
        solve_sizes(observed, sizes)
        return sizes

    def _launch(self, x: Operands) -> Launch:
        token = next(a for a in self.inputs if a.kind == "token")
        batch, tokens = x.tensors[token.name].shape[:2]
        heads = max(head_counts(self.definition, x.tensors).values())
        sequences = batch if x.cu_seqlens is None else x.cu_seqlens.shape[0] - 1
        return Launch(batch, tokens, heads, sequences)

    def _with_offsets(self, launch: Launch, x: Operands) -> Launch:
        if x.cu_seqlens is None:
            return launch
        # On a GPU the values stay there: kernels clamp them, FLA_CHECK_OFFSETS=1 looks at them.
        on_gpu = devices.is_gpu(x.device)
        ends = () if on_gpu else check_offsets(self.definition.name, x.cu_seqlens, launch.tokens)
        offsets = x.cu_seqlens.to(torch.int64).contiguous()
        return Launch(launch.batch, launch.tokens, launch.heads, launch.sequences, offsets, tuple(ends))

    def _request(self, x: Operands, direction: str, states: str) -> tuple[tuple, dict]:
        """(key of a program, what compile_program takes for it)."""
        form = "chunk" if direction == "backward" else x.form
        shapes = tuple((*map(int, t.shape[t.dim() - len(a.dims):]), t.dtype)
                       for a, t in zip(self.inputs, x.tensors.values()))
        place = devices.place_of(x.device)
        blocks = self._blocks(x, direction) if states == "recompute" else 1
        key = (shapes, x.free, form, direction, states, x.chunk, blocks, place and place[1:])
        if key in self._programs:
            return key, {}
        dtypes = {n: DTYPES[t.dtype] for n, t in x.tensors.items()}
        return key, dict(dims=self._sizes(x), dtypes=dtypes, form=form, direction=direction, states=states, chunk=x.chunk,
                         blocks=blocks, place=place)

    def _program(self, x: Operands, direction: str, states: str) -> Program:
        key, wanted = self._request(x, direction, states)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = compile_program(self.definition, self.absent, **wanted)
        return program

    def begin_backward(self, flat: tuple, saving: bool) -> None:
        """Lets another thread make the backward of a first call on a GPU."""
        key, wanted = self._request(self.split(flat), "backward", "save" if saving else "recompute")
        if wanted and key not in self._begun and knobs.get("ahead") == "1":
            self._begun.add(key)
            begin(lambda: compile_program(self.definition, self.absent, **wanted).handle.load(wanted["place"].index))

    def _blocks(self, x: Operands, direction: str) -> int:
        """Column blocks of the grid: more than one only when threads outnumber heads of sequences.

        On a GPU, in the forward alone, as long as each finds a processor of its own and
        has columns for four warps: a block's warps work side by side, so that fewer
        columns than that take as long.
        """
        launch, threads = self._launch(x), torch.get_num_threads()
        rows = launch.sequences * launch.heads
        if not devices.is_gpu(x.device):
            return 1 if rows == 0 or rows >= threads else 2 if 2 * rows >= threads else 4
        if direction != "forward" or rows == 0:
            return 1
        processors, blocks = devices.processors(devices.index_of(x.device)), 1
        while 2 * blocks * rows <= processors and self._columns(x) // (2 * blocks) >= BLOCK_COLUMNS:
            blocks *= 2
        return blocks

    def _columns(self, x: Operands) -> int:
        """Columns of the first matrix state, 0 if there is none."""
        sizes = self._sizes(x)
        return next((evaluate(s.dims[-1], sizes) for s in self.definition.states if len(s.dims) == 2), 0)

    # Forward.
    def _shapes(self, x: Operands, launch: Launch) -> tuple[list, list]:
        """(shapes of the outputs, shapes of the states that a caller sees)."""
        sizes = self._sizes(x)
        heads = head_counts(self.definition, x.tensors)
        outputs = [[launch.batch, launch.tokens, launch.heads, *(evaluate(d, sizes) for d in dims)]
                   for dims in self.definition.outputs]
        states = [[launch.sequences, state_heads(self.definition, i, heads), *(evaluate(d, sizes) for d in s.dims)]
                  for i, s in enumerate(self.definition.states)]
        return outputs, states

    def _fake(self, x: Operands, saving: bool):
        launch = self._launch(x)
        outputs, states = self._shapes(x, launch)
        first = x.tensors[next(a.name for a in self.inputs if a.kind == "token")]
        dtype = state_dtype(x.tensors.values())
        results = [first.new_empty(s) for s in outputs]
        results += [first.new_empty(s if x.finals else [0], dtype=dtype) for s in states]
        if not saving:
            return tuple(results)
        program = self._program(x, "forward", "save")
        saved = [first.new_empty(launch.extents(s, program.chunk), dtype=s.dtype) for s in program.rows("saved")]
        return (*results, saved)

    def _run(self, x: Operands, saving: bool):
        program, launch, shapes = self.prepare(x, saving)
        launch = self._with_offsets(launch, x)
        if launch.batch == 0 or launch.tokens == 0 or launch.sequences == 0:
            return self._nothing(x, launch, saving, program)
        given = {"input": x.tensors, "initial_state": self._by_state(x.initial)}
        out = run_program(program, launch, x.values, given, x.device, () if x.finals else ("final_state",))
        if x.finals:
            finals = [_own_heads(out["final_state"][s.name], shape[1])
                      for s, shape in zip(self.definition.states, shapes)]
        else:
            dtype = state_dtype(x.tensors.values())
            finals = [torch.empty(0, dtype=dtype, device=x.device) for _ in shapes]
        outputs = [out["output"][spec.key] for spec in program.rows("output")]
        return (*outputs, *finals, *([list(out.get("saved", {}).values())] if saving else []))

    def _run_on_pool(self, x: Operands):
        program, launch, _ = self.prepare(x, saving=False)
        launch = self._with_indices(self._with_offsets(launch, x), x)
        if launch.batch == 0 or launch.tokens == 0 or launch.sequences == 0:
            return [t.zero_() for t in self._fake(x, False)[:len(self.definition.outputs)]]
        states = self._by_state(x.initial)
        # A state that one block of columns stores, others may still have to read.
        apart = {spec.key: states[spec.key].clone() for spec in program.rows("final_state") if x.update and spec.alike}
        given = {"input": x.tensors, "initial_state": states, **({"final_state": {**states, **apart}} if x.update else {})}
        out = run_program(program, launch, x.values, given, x.device, ("final_state",))
        for name, final in apart.items():
            states[name].copy_(final)
        return [out["output"][spec.key] for spec in program.rows("output")]

    def _with_indices(self, launch: Launch, x: Operands) -> Launch:
        if x.indices is None:
            return launch
        states = x.initial[0].shape[0]
        if not devices.is_gpu(x.device):
            check_indices(self.definition.name, x.indices, states, x.update)
        return replace(launch, indices=x.indices.to(torch.int64).contiguous(), states=states)

    def prepare(self, x: Operands, saving: bool) -> tuple[Program, Launch, list]:
        """(program, launch without offsets, shapes of the states), remembered by shapes and dtypes."""
        count = -1 if x.cu_seqlens is None else x.cu_seqlens.shape[0]
        key = (tuple((t.shape, t.dtype) for t in x.tensors.values()), x.free, x.form, x.chunk, saving, count,
               torch.get_num_threads(), devices.place_of(x.device))
        known = self._prepared.get(key)
        if known is None:
            launch = self._launch(x)
            program = self._program(x, "forward", "save" if saving else "recompute")
            known = program, launch, self._shapes(x, launch)[1]
            keep(self._prepared, key, known)
        return known

    def _by_state(self, tensors) -> dict:
        return {s.name: t for s, t in zip(self.definition.states, tensors)}

    def _nothing(self, x: Operands, launch: Launch, saving: bool, program: Program):
        """A call without tokens: no output rows, states as they came."""
        results = list(self._fake(x, False))
        for t in results[:len(self.definition.outputs)]:
            t.zero_()
        if x.finals:
            for i, state in enumerate(self.definition.states):
                t = results[len(self.definition.outputs) + i]
                t.fill_(state.init) if x.initial[i] is None else t.copy_(x.initial[i])
        saved = [torch.zeros(launch.extents(s, program.chunk), dtype=s.dtype, device=x.device)
                 for s in program.rows("saved")]
        return (*results, *([saved] if saving else []))

    # Backward.
    def _remember(self, ctx, inputs, output, saving: bool) -> None:
        x = self.split(inputs)
        saved = list(output[-1]) if saving else []
        tensors = [*x.tensors.values(), *x.initial, x.cu_seqlens]
        ctx.set_materialize_grads(False)
        ctx.saving, ctx.values, ctx.rest = saving, list(x.values.values()), (x.free, x.form, x.chunk, x.finals)
        ctx.save_for_backward(*tensors, *saved)

    def differentiate(self, ctx, *grads):
        n, s = len(self.inputs), len(self.definition.states)
        kept = ctx.saved_tensors
        operands = [*kept[:n + s], *ctx.values, kept[n + s], *ctx.rest]
        return self.gradients_of(operands, list(kept[n + s + 1:]), ctx.saving, grads)

    def gradients_of(self, operands: list, saved: list, use_saved: bool, grads) -> tuple:
        """Gradients of the flat operands by the backward operator, None for what has none."""
        n, s, o = len(self.inputs), len(self.definition.states), len(self.definition.outputs)
        wanted = self.split(operands).finals
        finals = grads[o:o + s] if wanted else [None] * s
        out = _all(self.backward(*grads[:o], *finals, saved, use_saved, *operands))
        d_initial = [d if operands[n + i] is not None else None for i, d in enumerate(out[n:])]
        return (*out[:n], *d_initial, *[None] * (len(operands) - n - s))

    def _refuse_twice(self, ctx, *grads):
        raise RuntimeError(f"{self.definition.name}: expected a single backward, got a double one "
                           "(create_graph=True); second derivatives are not available")

    def _empty_gradients(self, x: Operands):
        dtype = state_dtype(x.tensors.values())
        first = next(iter(x.tensors.values()))
        _, states = self._shapes(x, self._launch(x))
        return (*(t.new_empty(t.shape) for t in x.tensors.values()), *(first.new_empty(s, dtype=dtype) for s in states))

    def _run_backward(self, flat):
        o, s = len(self.definition.outputs), len(self.definition.states)
        x = self.split(flat[o + s + 2:])
        saved, use_saved = flat[o + s], flat[o + s + 1]
        launch = self._with_offsets(self._launch(x), x)
        d_finals = flat[o:o + s]
        if launch.batch == 0 or launch.tokens == 0 or launch.sequences == 0:
            return self._nothing_back(x, d_finals)
        program = self._backward_program(x, use_saved)
        grads = dict(zip([spec.key for spec in program.rows("d_output")], flat[:o]))
        ends = self._by_state(d_finals)
        given = {"input": x.tensors, "initial_state": self._by_state(x.initial),
                 "d_output": {spec.key: _dense(grads[spec.key], spec, launch, x.device)
                              for spec in program.rows("d_output")},
                 "d_final_state": {spec.key: _spread(ends[spec.key], spec, launch, x.device)
                                   for spec in program.rows("d_final_state")}}
        if use_saved:
            given["saved"] = dict(zip([spec.key for spec in self.saved_rows(x)], saved))
        return self._gather(x, run_program(program, launch, x.values, given, x.device))

    def _backward_program(self, x: Operands, use_saved: bool) -> Program:
        return self._program(x, "backward", "save" if use_saved else "recompute")

    def backward_program(self, x: Operands, use_saved: bool) -> tuple[Program, Launch]:
        """(program of the backward, launch without offsets)."""
        return self._backward_program(x, use_saved), self._launch(x)

    def saved_rows(self, x: Operands) -> list:
        """Manifest rows of the chunk states that a training forward keeps."""
        return self._program(x, "forward", "save").rows("saved")

    def _nothing_back(self, x: Operands, d_finals):
        results = self._empty_gradients(x)
        for t in results:
            t.zero_()
        for t, d in zip(results[len(self.inputs):], d_finals):
            if d is not None:
                t.copy_(d)
        return results

    def _gather(self, x: Operands, out: dict):
        """Gradients of the caller's tensors: sums over sequences and head groups in fp32."""
        inputs, states, results = out.get("d_input", {}), out.get("d_initial_state", {}), []
        for a in self.inputs:
            t, d = x.tensors[a.name], inputs.get(a.name)
            if d is None:
                results.append(t.new_zeros(t.shape))
            else:
                results.append(self.gradient(a.kind, d, t.shape, t.dtype))
        dtype = state_dtype(x.tensors.values())
        _, shapes = self._shapes(x, self._launch(x))
        for state, shape in zip(self.definition.states, shapes):
            d = states.get(state.name)
            if d is None:
                results.append(torch.zeros(shape, dtype=dtype, device=x.device))
            else:
                results.append(self.gradient("state", d, shape, dtype))
        return tuple(results)

    @staticmethod
    def gradient(kind: str, d: torch.Tensor, shape, dtype: torch.dtype) -> torch.Tensor:
        """The gradient of a tensor of this shape, of a kernel's: sums over sequences and head groups in fp32, in order."""
        if kind == "param":
            return _sum_group(d.sum(0, dtype=_accumulator(d.dtype)), 0, shape[0], dtype)
        axis = 2 if kind == "token" else 1
        return _sum_group(d, axis, shape[axis], dtype)


def _own_heads(t: torch.Tensor, heads: int) -> torch.Tensor:
    """The first head of each group: all heads of a group hold the same state."""
    return t if t.shape[1] == heads else t[:, ::t.shape[1] // heads].contiguous()


def _dense(d, spec, launch: Launch, device: torch.device) -> torch.Tensor:
    """The gradient of an output, zeros where nothing came."""
    return torch.zeros(launch.extents(spec, 1), dtype=spec.dtype, device=device) if d is None else d.to(spec.dtype)


def _spread(d, spec, launch: Launch, device: torch.device) -> torch.Tensor:
    """The gradient of a state on the heads that it was taken from."""
    if d is not None and d.shape[1] == launch.heads:
        return d.to(spec.dtype)
    wide = torch.zeros(launch.extents(spec, 1), dtype=spec.dtype, device=device)
    if d is not None:
        wide[:, ::launch.heads // d.shape[1]] = d
    return wide


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _sum_group(d: torch.Tensor, axis: int, heads: int, dtype: torch.dtype) -> torch.Tensor:
    """Sums groups of heads in order."""
    if d.shape[axis] != heads:
        split = [*d.shape[:axis], heads, d.shape[axis] // heads, *d.shape[axis + 1:]]
        d = d.reshape(split).sum(axis + 1, dtype=_accumulator(d.dtype))
    return d.to(dtype)


@lru_cache(maxsize=None)
def operators_of(definition: Definition, absent: tuple[str, ...]) -> Operators:
    return _by_name(Operators(definition, absent))


_REGISTRY: dict[str, Operators] = {}


def _by_name(operators: Operators) -> Operators:
    """One set of operators for equal definitions: torch registers a name once."""
    return _REGISTRY.setdefault(operators.name, operators)


def _saves(operators: Operators, bound: Bound) -> bool:
    """Whether a training forward keeps chunk states: while they are no larger than the inputs."""
    rule = knobs.get("states")
    if not operators.definition.states:
        return False
    if rule != "auto":
        return rule == "save"
    definition, sizes = operators.definition, bound.sizes
    token = sum(_elements(a.dims, sizes) for a in operators.inputs if a.kind == "token")
    state = sum(_elements(s.dims, sizes) for s in definition.states)
    # One state in 64 tokens is kept, in fp32 as the inputs are at their widest.
    return state <= 64 * token


def _elements(dims: tuple[str, ...], sizes: dict) -> int:
    out = 1
    for d in dims:
        out *= evaluate(d, sizes)
    return out


def resolve_form(form: str, bound: Bound, packed: bool) -> str:
    """"auto" by shapes alone: short sequences token by token, others in chunks."""
    if form != "auto":
        return form
    limit = SHORT * bound.sequences if packed else SHORT
    return "recurrent" if bound.tokens <= limit else "chunk"


def flat_operands(operators: Operators, bound: Bound, cu_seqlens, form: str, chunk: int, finals: bool) -> tuple:
    """What the operators take, of a checked call; two more where it is on a pool of states."""
    form = resolve_form(form, bound, cu_seqlens is not None)
    free = " ".join(str(bound.sizes[n]) for n in operators.free)
    on_pool = (bound.indices, bound.in_place) if bound.on_pool else ()
    return (*bound.tensors.values(), *bound.initial, *bound.values.values(), cu_seqlens, free, form, chunk, finals,
            *on_pool)


def training(operators: Operators, bound: Bound, flat: tuple) -> tuple[bool, bool]:
    """(whether a call needs a backward, whether it keeps the chunk states for that)."""
    if bound.on_pool:
        return False, False
    tensors = (*bound.tensors.values(), *bound.initial)
    trains = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    return trains, trains and operators.split(flat).form == "chunk" and _saves(operators, bound)


def _all(results) -> tuple:
    """The results of an operator, of a single one too."""
    return (results,) if isinstance(results, torch.Tensor) else tuple(results)


def call_operator(operators: Operators, bound: Bound, flat: tuple):
    """(outputs, final states) of a checked call, `flat` being its flat_operands."""
    if bound.on_pool:
        return list(_all(operators.pool(*flat))), bound.given_states
    trains, saving = training(operators, bound, flat)
    if trains and bound.on_gpu and not torch.compiler.is_compiling():
        operators.begin_backward(flat, saving)
    op = operators.saving if saving else operators.forward
    out = _all(op(*flat))
    count = len(operators.definition.outputs)
    return list(out[:count]), list(out[count:count + len(operators.definition.states)])
