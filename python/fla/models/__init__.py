"""Language models on transformers: a configuration, a decoder and a causal model of each kind.

A model is loaded when one of its names is first used. `import fla` registers all
of them with the auto classes of transformers once those are loaded.
"""

from __future__ import annotations

import importlib

# Each module, which is also the model's type, and the stem of its names.
MODELS = {
    "abc": "ABC",
    "bitnet": "BitNet",
    "comba": "Comba",
    "delta_net": "DeltaNet",
    "gated_deltanet": "GatedDeltaNet",
    "gated_deltaproduct": "GatedDeltaProduct",
    "gla": "GLA",
    "gsa": "GSA",
    "hgrn": "HGRN",
    "hgrn2": "HGRN2",
    "kda": "KDA",
    "lightnet": "LightNet",
    "linear_attn": "LinearAttention",
    "mamba": "Mamba",
    "mamba2": "Mamba2",
    "mom": "Mom",
    "retnet": "RetNet",
    "rodimus": "Rodimus",
    "rwkv6": "RWKV6",
    "rwkv7": "RWKV7",
    "samba": "Samba",
    "transformer": "Transformer",
}
_MODULE = {f"{stem}{kind}": module for module, stem in MODELS.items() for kind in ("Config", "Model", "ForCausalLM")}
_SUBMODULES = {*MODELS, "blocks", "compat", "configuration", "decoder", "hybrid", "registration", "utils"}

__all__ = sorted(_MODULE)


def __getattr__(name: str):
    if name in _MODULE:
        return getattr(importlib.import_module(f".{_MODULE[name]}", __name__), name)
    if name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"fla.models has no {name!r}; it has the models {', '.join(MODELS.values())}")


def __dir__():
    return sorted([*globals(), *_MODULE, *_SUBMODULES])
