"""Models of transformers on this package's operators, on any device.

transformers looks for this package itself, but until 5.16 only where there is a
CUDA device. On a CPU, one call does the same:

    model = AutoModelForCausalLM.from_pretrained(...)        # Qwen3-Next
    run = fla.accelerate(model)
    model.generate(...)
    run.calls                        # {"chunk_gated_delta_rule": 36, ...}

What is replaced are the gated delta rule and Kimi's delta rule: the attributes
or module functions of those names that hold a reference in plain PyTorch.
Qwen3-Next, Qwen3.5, OLMo-Hybrid and Kimi-Linear have them.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections import Counter

__all__ = ["accelerate", "Acceleration"]

# What transformers calls a function, as an attribute of a layer or in its module: (our module, our name).
_GATED_DELTA = "fla.ops.gated_delta_rule"
_KDA = "fla.ops.kda"
_NAMES = {
    "chunk_gated_delta_rule": (_GATED_DELTA, "chunk_gated_delta_rule"),
    "torch_chunk_gated_delta_rule": (_GATED_DELTA, "chunk_gated_delta_rule"),
    "recurrent_gated_delta_rule": (_GATED_DELTA, "fused_recurrent_gated_delta_rule"),
    "torch_recurrent_gated_delta_rule": (_GATED_DELTA, "fused_recurrent_gated_delta_rule"),
    "chunk_kimi_delta_attention": (_KDA, "chunk_kda"),
    "recurrent_kimi_delta_attention": (_KDA, "fused_recurrent_kda"),
}


class Acceleration:
    """What `accelerate` changed. calls: how often each of our operators ran; restore() undoes it."""

    def __init__(self):
        self.calls: Counter = Counter()
        self.layers: list[str] = []
        self._undo: list[tuple] = []

    def __repr__(self) -> str:
        return f"Acceleration(layers={len(self.layers)}, calls={dict(self.calls)})"

    def operator(self, path: str, name: str):
        """Our operator, counting its calls and leaving out keywords that it does not have."""
        function = getattr(__import__(path, fromlist=[name]), name)
        known = inspect.signature(function).parameters

        @functools.wraps(function)
        def counted(*args, **kwargs):
            self.calls[name] += 1
            return function(*args, **{key: value for key, value in kwargs.items() if key in known})
        return counted

    def replace(self, holder, name: str, value) -> None:
        self._undo.append((holder, name, getattr(holder, name)))
        setattr(holder, name, value)

    def restore(self) -> None:
        """Puts back what was there; counts stay."""
        while self._undo:
            holder, name, value = self._undo.pop()
            setattr(holder, name, value)


def accelerate(model) -> Acceleration:
    """Makes the linear-attention layers of a transformers model run on this package's operators.

    Returns what was changed, with a count of calls. Functions of a module of
    transformers are shared by all its models. Raises ValueError for a model
    without a layer that is known.
    """
    done = Acceleration()
    functions, modules = {}, set()
    for path, layer in model.named_modules():
        module = sys.modules.get(type(layer).__module__)
        names = [n for n in _NAMES if callable(layer.__dict__.get(n))]
        shared = [n for n in _NAMES if callable(getattr(module, n, None))] if _mixes_tokens(layer) else []
        if not names and not shared:
            continue
        done.layers.append(path)
        for name in names:
            done.replace(layer, name, functions.setdefault(_NAMES[name], done.operator(*_NAMES[name])))
        if not names and module not in modules:
            modules.add(module)
            for name in shared:
                done.replace(module, name, functions.setdefault(_NAMES[name], done.operator(*_NAMES[name])))
    if not done.layers:
        raise ValueError(f"fla.accelerate: {type(model).__name__} has no gated delta rule or Kimi delta layer of "
                         "transformers; expected a model such as Qwen3-Next")
    return done


def _mixes_tokens(layer) -> bool:
    """Whether a layer has the decay of a delta-rule layer, which the other layers of its module have not."""
    return "A_log" in getattr(layer, "_parameters", {})
