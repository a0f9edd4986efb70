"""What a call gives: binds it to a definition's arguments and checks it.

Everything that can be wrong with a call is reported here, before anything is
computed: the operator, the argument, what was expected and what came.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass, field

import torch

from . import devices
from .definition import Argument, Definition
from .dimensions import evaluate, names_in, solve_sizes
from .signature import REQUIRED, Parameter

__all__ = ["Bound", "bind_names", "bind_tensors", "free_names", "check_indices", "check_offsets", "keep", "DTYPES"]

DTYPES = {torch.float64: "f64", torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


@dataclass
class Bound:
    """A checked call. Tensors have a head axis; sizes name every dimension.

    indices: which of the initial states each sequence has, None for its own.
    in_place: whether final states are written where the initial ones are.
    given_states: the initial states as they were given.
    """

    tensors: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    initial: list = field(default_factory=list)
    sizes: dict = field(default_factory=dict)
    batch: int = 0
    tokens: int = 0
    heads: int = 1
    sequences: int = 0
    on_gpu: bool = False
    indices: torch.Tensor | None = None
    in_place: bool = False
    given_states: list = field(default_factory=list)

    @property
    def on_pool(self) -> bool:
        """Whether the states are a pool: indexed, or updated in place."""
        return self.in_place or self.indices is not None


def bind_names(name: str, parameters: list[Parameter], args: tuple, kwargs: dict, extra: set[str]) -> dict:
    """Arguments by name, as Python would bind them. `extra` names dimensions.

    Raises TypeError for a missing, doubled or unknown argument.
    """
    inputs = [p for p in parameters if p.role != "state"]
    ordered = [p.name for p in inputs if not p.keyword_only]
    if len(args) > len(ordered):
        raise TypeError(f"{name}: expected at most {len(ordered)} positional arguments "
                        f"({', '.join(ordered)}), got {len(args)}")
    given = dict(zip(ordered, args))
    known = {p.name for p in inputs}
    for key, value in kwargs.items():
        if key in given:
            raise TypeError(f"{name}: argument '{key}' is given twice")
        if key not in known and key not in extra:
            states = [p.name for p in parameters if p.role == "state"]
            hint = "; states are given as initial_state" if key in states else ""
            raise TypeError(f"{name}: unknown argument '{key}'; expected {', '.join([*known_order(inputs), *sorted(extra)])}"
                            f", initial_state, output_final_state, cu_seqlens, state_indices, inplace_final_state, "
                            f"form or chunk_size{hint}")
        given[key] = value
    for p in inputs:
        if p.name not in given:
            if p.default is REQUIRED and not p.optional:
                raise TypeError(f"{name}: argument '{p.name}' is missing")
            given[p.name] = None if p.default is REQUIRED else p.default
    return given


def known_order(inputs: list[Parameter]) -> list[str]:
    return [p.name for p in inputs]


def free_names(definition: Definition) -> list[str]:
    """Dimensions that no argument determines: keywords of a call."""
    known, pending = set(definition.sizes), []
    for argument in definition.arguments:
        pending += argument.dims
    while True:
        solved = {n for d in pending for n in names_in(d) - known if len(names_in(d) - known) == 1}
        if not solved:
            break
        known |= solved
    used = {n for s in definition.states for d in s.dims for n in names_in(d)}
    used |= {n for dims in (*definition.outputs, *(a.dims for a in definition.arguments))
             for d in dims for n in names_in(d)}
    return sorted(used - known)


def _layout(argument: Argument) -> str:
    lead = ["B", "T", "H"] if argument.kind == "token" else ["H"]
    return f"[{', '.join([*lead, *argument.dims])}]"


def _tensor(name: str, argument: Argument, x) -> torch.Tensor:
    """The tensor with its head axis. Raises TypeError or ValueError."""
    where = f"{name}: argument '{argument.name}'"
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{where}: expected a tensor {_layout(argument)}, got {type(x).__name__}")
    _check_place(where, x)
    lead = 3 if argument.kind == "token" else 1
    rank = lead + len(argument.dims)
    if x.dim() == rank - 1:
        return x.unsqueeze(lead - 1)
    if x.dim() != rank:
        raise ValueError(f"{where}: expected a tensor {_layout(argument)} (H may be left out), "
                         f"got shape {list(x.shape)}")
    return x


def _check_device(where: str, x: torch.Tensor) -> None:
    if x.device.type not in ("cpu", "meta") and not devices.is_gpu(x.device):
        raise ValueError(f"{where}: expected a tensor on the CPU or on a CUDA or ROCm GPU, got one on {x.device}")


def _check_place(where: str, x: torch.Tensor) -> None:
    _check_device(where, x)
    if x.layout != torch.strided:
        raise TypeError(f"{where}: expected a dense tensor, got layout {x.layout}")
    if x.dtype not in DTYPES:
        raise TypeError(f"{where}: expected dtype float64, float32, bfloat16 or float16, got {x.dtype}")
    if x.dtype == torch.float64 and devices.is_gpu(x.device):
        raise TypeError(f"{where}: expected dtype float32, bfloat16 or float16 on a GPU (float64 runs on the CPU), "
                        f"got {x.dtype} on {x.device}")


def _value(name: str, argument: Argument, x) -> float:
    where = f"{name}: argument '{argument.name}'"
    if isinstance(x, torch.SymFloat) or isinstance(x, numbers.Real) and not isinstance(x, bool):
        return x if isinstance(x, torch.SymFloat) else float(x)
    raise TypeError(f"{where}: expected a Python number, got {type(x).__name__}; one value a head is a Param")


def _collect(name: str, definition: Definition, given: dict, absent: tuple) -> Bound:
    bound = Bound()
    for argument in definition.arguments:
        x = given.get(argument.name)
        if argument.name in absent:
            continue
        if argument.kind == "value":
            bound.values[argument.name] = _value(name, argument, argument.attrs.get("default") if x is None else x)
        else:
            bound.tensors[argument.name] = _tensor(name, argument, x)
    return bound


def _check_lead(name: str, definition: Definition, bound: Bound) -> None:
    """Batch, time and head counts agree."""
    arguments = [a for a in definition.arguments if a.name in bound.tensors]
    tokens = [a for a in arguments if a.kind == "token"]
    first = bound.tensors[tokens[0].name]
    bound.batch, bound.tokens = first.shape[0], first.shape[1]
    for a in tokens:
        shape = bound.tensors[a.name].shape
        if shape[0] != bound.batch or shape[1] != bound.tokens:
            raise ValueError(f"{name}: argument '{a.name}': expected batch {bound.batch} and {bound.tokens} tokens "
                             f"as in '{tokens[0].name}', got batch {shape[0]} and {shape[1]} tokens")
    counts = {a.name: int(bound.tensors[a.name].shape[2 if a.kind == "token" else 0]) for a in arguments}
    bound.heads = max(counts.values())
    widest = max(counts, key=counts.get)
    for key, count in counts.items():
        if count < 1 or bound.heads % count:
            raise ValueError(f"{name}: argument '{key}': expected a number of heads that divides {bound.heads}, "
                             f"the heads of '{widest}', got {count}")


def _check_sizes(name: str, definition: Definition, bound: Bound, given: dict) -> None:
    """Every dimension has one size."""
    free = free_names(definition)
    bound.sizes = dict(definition.sizes)
    observed, owners = [], []
    for a in definition.arguments:
        if a.name in bound.tensors and a.dims:
            shape = bound.tensors[a.name].shape[-len(a.dims):]
            observed += [(d, int(s)) for d, s in zip(a.dims, shape)]
            owners += [a] * len(a.dims)
    solve_sizes(observed, bound.sizes)
    for key in free:
        _take_size(name, definition, key, given, bound.sizes)
    for (dim, size), owner in zip(observed, owners):
        missing = names_in(dim) - bound.sizes.keys()
        want = None if missing else evaluate(dim, bound.sizes)
        if want != size:
            known = ", ".join(f"{k} = {v}" for k, v in bound.sizes.items() if k in names_in(dim))
            raise ValueError(f"{name}: argument '{owner.name}' {_layout(owner)}: expected size "
                             f"{want if want is not None else 'of the form ' + dim} for dimension {dim}"
                             f"{f' ({known})' if known else ''}, got {size}")
    for key, value in given.items():
        if key in bound.sizes and key not in free and not any(a.name == key for a in definition.arguments) \
                and isinstance(value, int) and value != bound.sizes[key]:
            raise ValueError(f"{name}: dimension '{key}': expected {bound.sizes[key]}, the size that the "
                             f"arguments have, got {value}")


def _take_size(name: str, definition: Definition, key: str, given: dict, sizes: dict) -> None:
    value = given.get(key)
    if value is None:
        raise TypeError(f"{name}: dimension '{key}' is determined by no argument; pass its size, {key}=...")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TypeError(f"{name}: dimension '{key}': expected a positive integer, got {value!r}")
    sizes[key] = value


def state_heads(definition: Definition, index: int, heads: dict[str, int]) -> int:
    """Heads of a state: the most among the inputs that it depends on."""
    return max((heads[n] for n in definition.state_inputs[index] if n in heads), default=1)


def state_dtype(tensors) -> torch.dtype:
    """States are float32, float64 as soon as an input is."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


def head_counts(definition: Definition, tensors: dict) -> dict[str, int]:
    kinds = {a.name: a.kind for a in definition.arguments}
    return {n: int(t.shape[2 if kinds[n] == "token" else 0]) for n, t in tensors.items()}


def _check_initial(name: str, definition: Definition, bound: Bound, initial) -> None:
    """The states to start from, in the states' dtype; None starts from `init`."""
    count = len(definition.states)
    if initial is None:
        bound.initial = [None] * count
        return
    states = list(initial) if isinstance(initial, (tuple, list)) else [initial]
    if len(states) != count:
        names = f" ({', '.join(s.name for s in definition.states)})" if count else ""
        raise ValueError(f"{name}: initial_state: expected {count} state{'' if count == 1 else 's'}{names}, "
                         f"got {len(states)}")
    heads = head_counts(definition, bound.tensors)
    dtype = state_dtype(bound.tensors.values())
    bound.given_states = states
    lead, extent = ("N", bound.sequences) if bound.indices is None else ("P", _pool_size(states))
    for i, (state, x) in enumerate(zip(definition.states, states)):
        bound.initial.append(None if x is None else _check_state(
            name, state, x, lead, [extent, state_heads(definition, i, heads),
                                   *(evaluate(d, bound.sizes) for d in state.dims)], dtype, bound.in_place))


def _pool_size(states: list) -> int:
    """States in a pool: those of the first that tells."""
    return next((int(x.shape[0]) for x in states if isinstance(x, torch.Tensor) and x.dim()), 0)


def _check_state(name: str, state, x, lead: str, want: list, dtype: torch.dtype, in_place: bool) -> torch.Tensor:
    where = f"{name}: initial_state '{state.name}'"
    layout = f"[{', '.join([lead, 'H', *state.dims])}] = {want}"
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{where}: expected a tensor {layout}, got {type(x).__name__}")
    _check_place(where, x)
    if x.dim() == len(want) - 1 and want[1] == 1:
        x = x.unsqueeze(1)
    if list(x.shape) != want:
        raise ValueError(f"{where}: expected shape {layout}, got {list(x.shape)}")
    if in_place:
        _check_updatable(where, x, dtype)
    return x if x.dtype == dtype else x.to(dtype)


def _check_updatable(where: str, x: torch.Tensor, dtype: torch.dtype) -> None:
    """Whether a kernel can write final states into this very memory."""
    if x.dtype != dtype:
        raise TypeError(f"{where}: expected dtype {dtype} of a state that is updated in place, got {x.dtype}")
    inner = 1
    for size, stride in zip(reversed(x.shape[2:]), reversed(x.stride()[2:])):
        if size != 1 and stride != inner:
            raise ValueError(f"{where}: expected contiguous states (the last {x.dim() - 2} axes) to update in place, "
                             f"got strides {list(x.stride())}")
        inner *= size
    if any(size > 1 and stride == 0 for size, stride in zip(x.shape, x.stride())):
        raise ValueError(f"{where}: expected states that share no memory to update in place, "
                         f"got strides {list(x.stride())}")


def _check_pool(name: str, definition: Definition, bound: Bound, initial, wanted: bool) -> None:
    """States that are chosen by indices or updated in place."""
    what = "inplace_final_state" if bound.in_place else "state_indices"
    if initial is None or any(x is None for x in bound.initial):
        raise ValueError(f"{name}: {what}: expected initial_state, all states of the definition "
                         f"({', '.join(s.name for s in definition.states)}), got None")
    tensors = (*bound.tensors.values(), *bound.initial)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        raise ValueError(f"{name}: {what}: expected a call without gradients (torch.no_grad()), "
                         "got a tensor that requires one")
    if not bound.in_place:
        if wanted:
            raise ValueError(f"{name}: state_indices: expected inplace_final_state=True, which updates the pool, "
                             "or output_final_state=False")
        return
    for state, x in zip(definition.states, bound.initial):
        if x.shape[1] != bound.heads:
            raise ValueError(f"{name}: inplace_final_state: expected a state for each of the call's {bound.heads} heads, "
                             f"got {x.shape[1]} of state '{state.name}', which heads share")


def _check_indices(name: str, bound: Bound, indices) -> None:
    """What can be said of state_indices without reading it."""
    if indices is None:
        return
    where, layout = f"{name}: state_indices", f"[N] = [{bound.sequences}]"
    if not isinstance(indices, torch.Tensor):
        raise TypeError(f"{where}: expected an int32 or int64 tensor {layout}, got {type(indices).__name__}")
    if indices.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{where}: expected dtype int32 or int64, got {indices.dtype}")
    _check_device(where, indices)
    if tuple(indices.shape) != (bound.sequences,):
        raise ValueError(f"{where}: expected shape {layout}, got {list(indices.shape)}")
    bound.indices = indices


def check_indices(name: str, indices: torch.Tensor, states: int, update: bool) -> None:
    """Raises ValueError unless indices are below `states`, and different where states are updated."""
    seen = set()
    for i in indices.tolist():
        if i >= states:
            raise ValueError(f"{name}: state_indices: expected indices below {states}, the states of the pool, got {i}")
        if update and i in seen:
            raise ValueError(f"{name}: state_indices: expected each state once where states are updated, got {i} twice")
        if i >= 0:
            seen.add(i)


def _check_packed(name: str, bound: Bound, cu_seqlens) -> None:
    """What can be said of cu_seqlens without reading it."""
    bound.sequences = bound.batch
    if cu_seqlens is None:
        return
    where = f"{name}: cu_seqlens"
    if not isinstance(cu_seqlens, torch.Tensor):
        raise TypeError(f"{where}: expected an int32 or int64 tensor [N + 1], got {type(cu_seqlens).__name__}")
    if cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{where}: expected dtype int32 or int64, got {cu_seqlens.dtype}")
    _check_device(where, cu_seqlens)
    if cu_seqlens.dim() != 1 or cu_seqlens.shape[0] < 1:
        raise ValueError(f"{where}: expected shape [N + 1], got {list(cu_seqlens.shape)}")
    if bound.batch != 1:
        raise ValueError(f"{where}: expected batch size 1 with packed sequences, got {bound.batch}")
    bound.sequences = cu_seqlens.shape[0] - 1


def _check_devices(name: str, definition: Definition, bound: Bound, cu_seqlens) -> None:
    """A call with a tensor on a GPU has all of them there."""
    states = (t for t in bound.initial if t is not None)
    tensors = [*bound.tensors.values(), *states, *(t for t in (cu_seqlens, bound.indices) if t is not None)]
    bound.on_gpu = any(devices.is_gpu(t.device) for t in tensors)
    if not bound.on_gpu:
        return
    first, device = next((n, t.device) for n, t in bound.tensors.items())
    named = {f"argument '{n}'": t for n, t in bound.tensors.items()}
    named.update({f"initial_state '{s.name}'": t for s, t in zip(definition.states, bound.initial) if t is not None})
    named.update({n: t for n, t in (("cu_seqlens", cu_seqlens), ("state_indices", bound.indices)) if t is not None})
    for what, t in named.items():
        if t.device != device:
            raise ValueError(f"{name}: {what}: expected a tensor on {device}, as '{first}' is, got one on {t.device}")


def check_offsets(name: str, cu_seqlens: torch.Tensor, tokens: int) -> list[int]:
    """The offsets as Python integers. Raises ValueError unless 0 = c0 <= ... <= cN <= T."""
    offsets = cu_seqlens.tolist()
    where = f"{name}: cu_seqlens"
    if offsets[0] != 0:
        raise ValueError(f"{where}: expected to start at 0, got {offsets[0]}")
    for a, b in zip(offsets, offsets[1:]):
        if b < a:
            raise ValueError(f"{where}: expected offsets that never decrease, got {a} before {b}")
    if offsets[-1] > tokens:
        raise ValueError(f"{where}: expected to end at {tokens} tokens at most, got {offsets[-1]}")
    return offsets


def _shape_key(definition: Definition, bound: Bound, given: dict):
    """What the checks of shapes look at, or None where sizes are symbols (torch.compile)."""
    shapes = tuple(bound.tensors.items())
    if torch.compiler.is_compiling() or any(type(s) is not int for _, t in shapes for s in t.shape):
        return None
    own = definition.argument_names
    return tuple((n, t.shape) for n, t in shapes), tuple((k, v) for k, v in given.items() if k not in own)


def keep(cache: dict, key, value) -> None:
    """Remembers an answer; a cache that has grown too large starts again."""
    if len(cache) >= 1024:
        cache.clear()
    cache[key] = value


def bind_tensors(name: str, definition: Definition, given: dict, absent: tuple, initial, cu_seqlens,
                 indices=None, in_place: bool = False, wanted: bool = False) -> Bound:
    """A checked call of `definition`. Raises TypeError or ValueError naming the argument.

    wanted: whether the caller asks for final states.
    """
    bound = _collect(name, definition, given, absent)
    key = _shape_key(definition, bound, given)
    known = definition.checked.get(key) if key else None
    if known is None:
        _check_lead(name, definition, bound)
        _check_sizes(name, definition, bound, given)
        if key:
            keep(definition.checked, key, (bound.sizes, bound.batch, bound.tokens, bound.heads))
    else:
        bound.sizes, bound.batch, bound.tokens, bound.heads = known
    bound.in_place = bool(in_place)
    _check_packed(name, bound, cu_seqlens)
    _check_indices(name, bound, indices)
    _check_initial(name, definition, bound, initial)
    _check_devices(name, definition, bound, cu_seqlens)
    if bound.on_pool:
        _check_pool(name, definition, bound, initial, wanted)
    return bound
