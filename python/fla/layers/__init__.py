"""Token-mixing layers: each takes [B, T, D] and returns (o [B, T, D], attentions or None, the cache).

A layer is loaded when its name is first used. Importing this package needs
PyTorch alone; a cache comes from ``fla.models.utils``, which needs transformers.
"""

from __future__ import annotations

import importlib

_LAYERS = {
    "abc": ["ABCAttention"],
    "attn": ["Attention"],
    "based": ["BasedLinearAttention"],
    "bitattn": ["BitAttention"],
    "comba": ["Comba"],
    "delta_net": ["DeltaNet"],
    "gated_deltanet": ["GatedDeltaNet"],
    "gated_deltaproduct": ["GatedDeltaProduct"],
    "gla": ["GatedLinearAttention"],
    "gsa": ["GatedSlotAttention"],
    "hgrn": ["HGRNAttention"],
    "hgrn2": ["HGRN2Attention"],
    "kda": ["KimiDeltaAttention"],
    "lightnet": ["LightNetAttention"],
    "linear_attn": ["LinearAttention"],
    "mamba": ["Mamba"],
    "mamba2": ["Mamba2"],
    "mom": ["MomAttention"],
    "multiscale_retention": ["MultiScaleRetention"],
    "rebased": ["ReBasedLinearAttention"],
    "rodimus": ["RodimusAttention", "SlidingWindowSharedKeyAttention"],
    "rwkv6": ["RWKV6Attention"],
    "rwkv7": ["RWKV7Attention"],
    "simple_gla": ["SimpleGatedLinearAttention"],
}
_MODULE = {name: module for module, names in _LAYERS.items() for name in names}
_SUBMODULES = {*_LAYERS, "utils"}

__all__ = sorted(_MODULE)


def __getattr__(name: str):
    if name in _MODULE:
        return getattr(importlib.import_module(f".{_MODULE[name]}", __name__), name)
    if name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"fla.layers has no layer {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return sorted([*globals(), *_MODULE, *_SUBMODULES])
