"""The object that a step becomes: called on tensors, or inside another step."""

from __future__ import annotations

import functools
import json
import sys
import weakref

from .builder import _ACTIVE
from .definition import Definition
from .dimensions import names_in
from .equation import equations
from .errors import DefinitionError
from .signature import REQUIRED, Parameter, read_signature
from .tracing import trace

__all__ = ["Recurrence", "Form", "recurrence", "PHASES"]

PHASES = ("define", "normalize", "chunk", "differentiate", "kernelize", "layout", "target")
FORMS = ("auto", "chunk", "recurrent")
_HANDLES: "weakref.WeakValueDictionary[int, Recurrence]" = weakref.WeakValueDictionary()


class Recurrence:
    """A recurrence: ``op(*tensors, initial_state=None, output_final_state=False, ...)``.

    Called on tensors it returns ``(*outputs, final)``, final being None unless
    output_final_state is true, one state or a tuple of them. A step without states
    treats every token by itself; its final is always None. Called inside a
    step, on traced values, its states come first and it returns what its own
    step returns.

    Further keywords: cu_seqlens [N + 1] packs sequences along time; form is auto,
    chunk or recurrent; chunk_size sets the tokens of a chunk. For decoding,
    state_indices [N] (int32 or int64) makes initial_state a pool [P, H, ...] of
    which sequence n has state state_indices[n], and is skipped where that is
    negative (its outputs are zero); inplace_final_state=True writes the final
    states where the initial ones are, and returns these tensors. Neither has a
    backward; states that are updated must be named once.

    A step is traced once for each choice of static arguments and of optional
    inputs that are given, at the first use; what it closes over is read then.
    """

    def __init__(self, name: str, parameters: list[Parameter], step=None, traced: dict | None = None):
        self.name, self.parameters, self.step = name, parameters, step
        self._traced: dict[tuple, tuple[Definition, tuple[str, ...]]] = dict(traced or {})
        # Calls on a GPU that were seen before (Plans), once there was one.
        self._plans = None
        self._handle = id(self)
        _HANDLES[self._handle] = self
        if step is not None:
            functools.update_wrapper(self, step)
        else:
            self.__name__ = name
        self._compiling = _allow_in_graph()

    # Which definition a call means.
    def _statics(self, given: dict) -> dict:
        statics = {p.name: given.get(p.name, p.default) for p in self.parameters if p.role == "static"}
        for name, value in statics.items():
            if value is REQUIRED:
                raise TypeError(f"{self.name}: static argument '{name}' is missing; it is part of the kernel")
            if not isinstance(value, (int, float, str, bool, type(None))):
                raise TypeError(f"{self.name}: argument '{name}': expected an int, bool, str, float or None, "
                                f"got {type(value).__name__}")
        return statics

    def _select(self, given: dict) -> tuple[Definition, tuple[str, ...]]:
        """(definition, inputs that take their default) for these arguments."""
        statics = self._statics(given)
        present = frozenset(p.name for p in self.parameters
                            if p.optional and p.role != "static" and given.get(p.name) is not None)
        key = (tuple(sorted(statics.items(), key=lambda kv: kv[0])), present)
        # True and 1 are equal keys but not equal statics.
        key = (*key, tuple(type(v) for _, v in key[0]))
        if key not in self._traced:
            self._traced[key] = self._trace(statics, present)
        return self._traced[key]

    def _trace(self, statics: dict, present: frozenset) -> tuple[Definition, tuple[str, ...]]:
        if self.step is None:
            raise DefinitionError(f"{self.name}: this copy was pickled without its step and holds only what was "
                                  f"traced before; got statics {statics} with optional inputs {sorted(present)}")
        return trace(self.step, self.parameters, statics, present), ()

    # Calls.
    def __call__(self, *args, **kwargs):
        if not self._compiling() and self._plans is not None:  # what traces a call may not look at plans
            result = self._plans.run(args, kwargs)
            if result is not None:
                return result
        return _call(self._handle, *args, **kwargs)

    def _inline(self, args: tuple, kwargs: dict):
        """The step on the values of the step that calls it."""
        if self.step is None:
            raise DefinitionError(f"{self.name}: this copy was pickled without its step and cannot be called "
                                  "inside another one")
        return self.step(*args, **kwargs)

    def bind(self, *args, initial_state=None, output_final_state: bool = False, cu_seqlens=None,
             state_indices=None, inplace_final_state: bool = False, form: str = "auto",
             chunk_size: int | None = None, **kwargs):
        """(operators, checked call, form) of a call, without running it."""
        from .calls import bind_names, bind_tensors
        from .operators import operators_of
        if form not in FORMS:
            raise ValueError(f"{self.name}: form: expected one of {', '.join(FORMS)}, got {form!r}")
        _check_chunk(self.name, chunk_size)
        given = bind_names(self.name, self.parameters, args, kwargs, self._dimension_names())
        definition, absent = self._select(given)
        bound = bind_tensors(self.name, definition, given, absent, initial_state, cu_seqlens, state_indices,
                             inplace_final_state, output_final_state)
        return operators_of(definition, absent), bound, form

    def _run(self, args: tuple, kwargs: dict):
        from .operators import call_operator, flat_operands
        operators, bound, form = self.bind(*args, **kwargs)
        wanted = bound.in_place or bool(kwargs.get("output_final_state", False))
        flat = flat_operands(operators, bound, kwargs.get("cu_seqlens"), form, kwargs.get("chunk_size") or 0,
                             wanted and not bound.in_place)
        outputs, finals = call_operator(operators, bound, flat)
        if bound.on_gpu:
            self._plan(args, kwargs, operators, bound, flat)
        final = None if not wanted or not finals else finals[0] if len(finals) == 1 else tuple(finals)
        return (*outputs, final)

    def _plan(self, args: tuple, kwargs: dict, operators, bound, flat: tuple) -> None:
        """Remembers a call on a GPU, so that its equals start at once."""
        from .operators import training
        from .plans import Plans, plan_of
        if self._plans is None:
            self._plans = Plans()
        self._plans.add(args, kwargs, lambda tensors: plan_of(
            self.parameters, args, kwargs, operators, operators.split(flat), *training(operators, bound, flat), tensors))

    def _dimension_names(self) -> set[str]:
        own = {p.name for p in self.parameters}
        return {n for p in self.parameters for d in p.dims for n in names_in(d)} - own

    @property
    def chunk(self) -> "Form":
        """The chunkwise-parallel form: ``op.chunk(...)`` is ``op(..., form="chunk")``."""
        return Form(self, "chunk")

    @property
    def recurrent(self) -> "Form":
        """The token-by-token form, for decoding."""
        return Form(self, "recurrent")

    # What the compiler makes of it.
    def definition(self, *, present: tuple[str, ...] = (), **statics) -> Definition:
        """The traced definition with these static arguments and optional inputs."""
        known = {p.name: p for p in self.parameters}
        for name in statics:
            if name not in known or known[name].role != "static":
                raise TypeError(f"{self.name}: unknown static argument '{name}'")
        for name in present:
            if name not in known or not known[name].optional:
                raise TypeError(f"{self.name}: '{name}' is not an optional input")
        return self._select({**statics, **{name: True for name in present}})[0]

    def _ask(self, function: str, options: dict, present: tuple, dims: dict, dtypes: dict, statics: dict):
        from .programs import ask
        definition = self.definition(present=present, **statics)
        _, absent = self._select({**statics, **{name: True for name in present}})
        options = {k: v for k, v in options.items() if v is not None}
        sizes = {**definition.sizes, **(dims or {})}
        options.update({"dims": sizes} if sizes else {})
        options.update({"dtypes": dtypes} if dtypes else {})
        options.update({"absent": list(absent)} if absent else {})
        return ask(function, definition, options)

    def mlir(self, phase: str = "define", *, dims: dict | None = None, dtypes: dict | None = None,
             form: str = "chunk", direction: str = "both", chunk_size: int | None = None,
             present: tuple[str, ...] = (), **statics) -> str:
        """The IR after a phase: define, normalize, chunk, differentiate, kernelize or target.

        `dims` gives sizes ({"K": 64}), `present` names the optional inputs that
        are given. Raises ValueError for an unknown phase, DefinitionError with
        the compiler's diagnostics when it refuses.
        """
        if phase not in PHASES:
            raise ValueError(f"{self.name}: phase: expected one of {', '.join(PHASES)}, got {phase!r}")
        if phase == "define":
            return self.definition(present=present, **statics).text
        options = {"until": phase, "form": form, "direction": direction, "chunk": chunk_size}
        return self._ask("phase", options, present, dims, dtypes, statics)

    def check(self, *, dims: dict | None = None, dtypes: dict | None = None, present: tuple[str, ...] = (),
              verbose: bool = True, **statics) -> "Ladder":
        """Runs the verification ladder and prints its table; the result is true when all rows pass."""
        rows = json.loads(self._ask("check", {}, present, dims, dtypes, statics))
        ladder = Ladder(rows)
        if verbose:
            print(ladder)
        return ladder

    def describe(self, *, present: tuple[str, ...] = (), **statics) -> dict:
        """Arguments, states, outputs and the class of each state, as the compiler sees them."""
        return json.loads(self._ask("describe", {}, present, {}, {}, statics))

    def __repr__(self) -> str:
        head = f"{self.name}({', '.join(p.name for p in self.parameters if p.role != 'state')})"
        try:
            present = tuple(p.name for p in self.parameters if p.optional and p.role in ("token", "param"))
            lines = equations(self.definition(present=present))
        except (DefinitionError, TypeError) as error:
            return f"<{head}: {error}>"
        return "\n".join([head, *(f"  {line}" for line in lines), *self._class_line(present)])

    def _class_line(self, present: tuple) -> list[str]:
        try:
            facts = self.describe(present=present)
        except (ImportError, DefinitionError):
            return []
        names = [state.name for state in self.definition(present=present).states]
        return [f"  class of {name}: {kind}" for name, kind in zip(names, facts.get("classes", []))]

    # Copies.
    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def _importable(self) -> bool:
        """Whether another process finds this very object under its name."""
        module = sys.modules.get(getattr(self, "__module__", None) or "")
        found = module
        for part in getattr(self, "__qualname__", "").split("."):
            found = getattr(found, part, None)
        return found is self and module.__name__ != "__main__"

    def __reduce__(self):
        if self.step is not None and self._importable():
            return self.__qualname__
        if not self._traced:
            self.definition()
        return _thaw, (self.name, self.parameters, self._traced)


def _thaw(name: str, parameters: list[Parameter], traced: dict) -> Recurrence:
    """A pickled recurrence whose step cannot be imported: what was traced of it."""
    return Recurrence(name, parameters, None, traced)


class Form:
    """One form of a recurrence, with the recurrence's signature."""

    def __init__(self, op: Recurrence, form: str):
        self.op, self.form = op, form

    def __call__(self, *args, **kwargs):
        if kwargs.get("form", self.form) != self.form:
            raise ValueError(f"{self.op.name}.{self.form}: form: expected {self.form!r} or none, "
                             f"got {kwargs['form']!r}")
        return self.op(*args, **{**kwargs, "form": self.form})

    def __repr__(self) -> str:
        return f"{self.op!r}\n  form: {self.form}"


class Ladder(list):
    """Rows of a check; prints as a table, true when every row passes."""

    def __bool__(self) -> bool:
        return all(row["pass"] for row in self)

    def __str__(self) -> str:
        lines = [f"{'phase':<14}{'form':<11}{'dtype':<7}{'case':<28}{'error':>10}  {'tolerance':>9}"]
        for row in self:
            error = "not finite" if row["error"] is None else f"{row['error']:.1e}"
            lines.append(f"{row['phase']:<14}{row['form']:<11}{row['dtype']:<7}{row['case']:<28}"
                         f"{error:>10}  {row['tolerance']:>9.1e}  {'pass' if row['pass'] else 'FAIL'}")
        return "\n".join(lines)


def _check_chunk(name: str, chunk: int | None) -> None:
    if chunk is None:
        return
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1 or chunk & (chunk - 1) or chunk > 256:
        raise ValueError(f"{name}: chunk_size: expected a power of two up to 256, got {chunk!r}")


def _call(handle: int, *args, **kwargs):
    """One call of a recurrence; under torch.compile this is one node of the graph."""
    op = _HANDLES[handle]
    if getattr(_ACTIVE, "builder", None) is not None:
        return op._inline(args, kwargs)
    return op._run(args, kwargs)


@functools.lru_cache(maxsize=None)
def _allow_in_graph():
    """Tells torch.compile to run `_call` as it is on its fake tensors; what says whether it traces."""
    try:
        import torch
    except ImportError:
        return bool
    torch.compiler.allow_in_graph(_call)
    return torch.compiler.is_compiling


def recurrence(step=None, *, name: str | None = None):
    """Makes a recurrence of a step, a function of one token.

        @recurrence
        def linear(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"]):
            S = S + outer(k, v)
            return S, S.T @ q

    Raises DefinitionError when an argument is not annotated as the language wants.
    """
    frame = sys._getframe(1)

    def make(step):
        if not callable(step) or not hasattr(step, "__code__"):
            raise TypeError(f"recurrence: expected a function, got {step!r}")
        return Recurrence(name or step.__name__, read_signature(step, frame), step)

    return make if step is None else make(step)
