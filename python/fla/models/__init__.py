"""Language models on transformers: a configuration, a decoder and a causal model of each kind.

Importing this package registers all of them with the auto classes of
transformers; `import fla` does so once those are loaded.
"""

from __future__ import annotations

import importlib

try:
    import transformers  # noqa: F401
except ImportError as error:
    raise ImportError("fla.models needs transformers: pip install transformers. fla.ops, fla.modules and fla.layers "
                      "do without it") from error

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

for _module in MODELS:
    _names = importlib.import_module(f"fla.models.{_module}")
    globals().update({_name: getattr(_names, _name) for _name in _names.__all__})
__all__ = sorted(f"{_stem}{_kind}" for _stem in MODELS.values() for _kind in ("Config", "Model", "ForCausalLM"))


def __getattr__(name: str):
    raise AttributeError(f"fla.models has no {name!r}; it has the models {', '.join(MODELS.values())}")
