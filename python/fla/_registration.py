"""Registers the models with the auto classes of transformers, when those are loaded.

`import fla` must make AutoModelForCausalLM.from_pretrained know `gla`, and must
not import transformers itself. So an import hook watches the modules of
transformers, and once the auto classes are loaded, and no module of it is half
loaded, fla.models is imported, which registers its models.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
import warnings

__all__ = ["install", "register"]

_AUTO = "transformers.models.auto.configuration_auto"


def register(config: type, model: type, causal: type) -> None:
    """Makes AutoConfig, AutoModel and AutoModelForCausalLM know a model; replaces one of the same type."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(config, model, exist_ok=True)
    AutoModelForCausalLM.register(config, causal, exist_ok=True)


def _register_or_warn() -> None:
    try:
        importlib.import_module("fla.models")
    except Exception as error:      # an import of transformers must not fail for this
        warnings.warn(f"fla: its models are not registered with transformers: {type(error).__name__}: {error}")


class _Loader(importlib.abc.Loader):
    """Loads a module as its own loader would, and tells the hook when it is done."""

    def __init__(self, inner, hook: "_Hook"):
        self._inner, self._hook = inner, hook

    def create_module(self, spec):
        return self._inner.create_module(spec)

    def exec_module(self, module) -> None:
        module.__loader__ = module.__spec__.loader = self._inner      # leave no trace
        with self._hook:
            self._inner.exec_module(module)

    def __getattr__(self, name: str):
        return getattr(self._inner, name)


class _Hook(importlib.abc.MetaPathFinder):
    """Counts the modules of transformers that are being loaded in this thread."""

    def __init__(self):
        self._loading = threading.local()

    def find_spec(self, name, path=None, target=None):
        if not name.startswith("transformers."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def __enter__(self):
        self._loading.depth = getattr(self._loading, "depth", 0) + 1

    def __exit__(self, kind, error, trace):
        self._loading.depth -= 1
        if self._loading.depth == 0 and kind is None and _AUTO in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            _register_or_warn()


def install() -> None:
    """Registers now if the auto classes are loaded, else as soon as they are."""
    if _AUTO in sys.modules:
        _register_or_warn()
    elif not any(isinstance(finder, _Hook) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Hook())
