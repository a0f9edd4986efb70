"""Where releases of transformers differ: the cache's name, tied weights, checkpointed layers."""

from __future__ import annotations

import dataclasses

import torch
import transformers
from packaging import version
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

__all__ = ["GradientCheckpointingLayer", "CACHE_NAME", "given_cache", "is_fresh", "output", "tied_weights",
           "BaseModelOutputWithPast", "CausalLMOutputWithPast"]

OLDEST = "4.56.0"
if version.parse(transformers.__version__) < version.parse(OLDEST):
    raise ImportError(f"fla.models needs transformers {OLDEST} or newer, found {transformers.__version__}")

# past_key_values until 5.x renamed it.
CACHE_NAME = next(f.name for f in dataclasses.fields(BaseModelOutputWithPast) if f.name in ("past_key_values", "cache"))


def output(kind: type, past, **fields):
    """An output of a model with its cache under this release's name."""
    return kind(**fields, **{CACHE_NAME: past})


def given_cache(past_key_values, kwargs: dict):
    """The cache that a caller gave, under the old name or the new; takes it out of kwargs."""
    newer = kwargs.pop("cache", None)
    if past_key_values is not None and newer is not None and past_key_values is not newer:
        raise ValueError("You cannot specify both `cache` and `past_key_values`.")
    return past_key_values if newer is None else newer


def tied_weights(target: str, source: str):
    """What _tied_weights_keys is in this release: a map from target to source since 5.0, a list before."""
    return {target: source} if version.parse(transformers.__version__) >= version.parse("5.0.0.dev0") else [target]


def is_fresh(parameter: torch.Tensor | None) -> bool:
    """Whether a parameter still needs its initial value: it has storage and no checkpoint gave it."""
    return (parameter is not None and not parameter.is_meta
            and not getattr(parameter, "_is_hf_initialized", False))
