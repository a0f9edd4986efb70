"""Which layers of a model are softmax attention: the `attn` key of a configuration.

    attn = {"layers": [1, 3], "num_heads": 8, "num_kv_heads": 2, "window_size": 2048}

One dictionary, or a list of them for layers that differ.
"""

from __future__ import annotations

import math

__all__ = ["HybridAttention", "get_hybrid_attention_spec", "normalize_hybrid_attention_config"]


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _positive(value, field: str, where: str) -> int:
    if not _is_int(value) or value <= 0:
        raise ValueError(f"{where} field {field!r} must be a positive integer; got {value!r}")
    return value


def _layers(layers, where: str, total: int, taken: dict[int, str]) -> list[int]:
    if not isinstance(layers, (list, tuple)):
        raise ValueError(f"{where} field 'layers' must be a list or tuple of integer layer indices; got {layers!r}")
    seen: list[int] = []
    for layer in layers:
        if not _is_int(layer):
            raise ValueError(f"{where} field 'layers' must contain only integer layer indices; got {layer!r}")
        if not 0 <= layer < total:
            raise ValueError(f"{where} field 'layers' contains out-of-range layer {layer!r}; "
                             f"expected a value in [0, {total})")
        if layer in seen:
            raise ValueError(f"{where} field 'layers' contains duplicate layer {layer!r}; got {layers!r}")
        if layer in taken:
            raise ValueError(f"{where} assigns conflicting layer {layer!r}, "
                             f"which is already assigned by {taken[layer]}")
        seen.append(layer)
    taken.update(dict.fromkeys(seen, where))
    return seen


def _normalize(spec, where: str, total: int, taken: dict[int, str]) -> dict:
    """A copy with every field, checked."""
    if not isinstance(spec, dict):
        raise ValueError(f"{where} must be a dictionary; got {spec!r}")
    for field in ("layers", "num_heads"):
        if field not in spec:
            raise ValueError(f"{where} field {field!r} is required; got <missing>")
    full = {"num_kv_heads": None, "qkv_bias": False, "window_size": None, "rope_theta": 10000.0, **spec}
    full["layers"] = _layers(spec["layers"], where, total, taken)
    full["num_heads"] = _positive(spec["num_heads"], "num_heads", where)
    if full["num_kv_heads"] is None:
        full["num_kv_heads"] = full["num_heads"]
    full["num_kv_heads"] = _positive(full["num_kv_heads"], "num_kv_heads", where)
    if not isinstance(full["qkv_bias"], bool):
        raise ValueError(f"{where} field 'qkv_bias' must be a Boolean; got {full['qkv_bias']!r}")
    if full["window_size"] is not None:
        full["window_size"] = _positive(full["window_size"], "window_size", where)
    theta = full["rope_theta"]
    if isinstance(theta, bool) or not isinstance(theta, (int, float)) or not 0 < theta < math.inf:
        raise ValueError(f"{where} field 'rope_theta' must be positive and finite; got {theta!r}")
    return full


def normalize_hybrid_attention_config(attn, *, num_hidden_layers: int):
    """`attn` with every field filled in: None, a dictionary or a list of them.

    Raises ValueError for a missing, unknown-typed, out-of-range or doubly assigned layer or size.
    """
    if attn is None:
        return None
    if not _is_int(num_hidden_layers) or num_hidden_layers < 0:
        raise ValueError(f"field 'num_hidden_layers' must be a non-negative integer; got {num_hidden_layers!r}")
    taken: dict[int, str] = {}
    if isinstance(attn, dict):
        return _normalize(attn, "attn specification", num_hidden_layers, taken)
    if isinstance(attn, list):
        return [_normalize(spec, f"attn specification at index {i}", num_hidden_layers, taken)
                for i, spec in enumerate(attn)]
    raise ValueError(f"attn must be None, a dictionary, or a list of dictionaries; got {attn!r}")


def get_hybrid_attention_spec(attn, *, layer_idx: int) -> dict | None:
    """The specification of a layer, or None where it is not softmax attention."""
    specs = [] if attn is None else [attn] if isinstance(attn, dict) else attn
    return next((spec for spec in specs if layer_idx in spec["layers"]), None)


class HybridAttention:
    """Gives a configuration its `attn`, which is checked and filled in when it is set."""

    @property
    def attn(self):
        return self.__dict__.get("attn")

    @attn.setter
    def attn(self, value) -> None:
        self.__dict__["attn"] = normalize_hybrid_attention_config(value, num_hidden_layers=self.num_hidden_layers)
