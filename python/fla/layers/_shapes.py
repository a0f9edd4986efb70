"""Widths of keys, values and heads, checked."""

from __future__ import annotations

import math

__all__ = ["set_grouped_sizes", "set_head_sizes"]


def set_grouped_sizes(layer, hidden_size: int, expand_k: float, expand_v: float, num_heads: int,
                      num_kv_heads: int | None = None) -> None:
    """Sizes of a layer whose keys and values are parts of hidden_size, over num_heads heads.

    num_kv_heads heads of keys and values, of the same head sizes, serve
    num_kv_groups query heads each. AssertionError where heads do not divide.
    """
    layer.hidden_size, layer.expand_k, layer.expand_v = hidden_size, expand_k, expand_v
    layer.num_heads = num_heads
    layer.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
    layer.num_kv_groups = num_heads // layer.num_kv_heads
    layer.key_dim, layer.value_dim = int(hidden_size * expand_k), int(hidden_size * expand_v)
    assert layer.key_dim % num_heads == 0, f"key dim must be divisible by num_heads of {num_heads}"
    assert layer.value_dim % num_heads == 0, f"value dim must be divisible by num_heads of {num_heads}"
    layer.key_dim_per_group = layer.key_dim // layer.num_kv_groups
    layer.value_dim_per_group = layer.value_dim // layer.num_kv_groups
    layer.head_k_dim, layer.head_v_dim = layer.key_dim // num_heads, layer.value_dim // num_heads


def set_head_sizes(layer, hidden_size: int, head_dim: int, num_heads: int, num_v_heads: int | None,
                   expand_v: float) -> None:
    """Sizes of a layer whose keys have num_heads heads of head_dim and values num_v_heads of head_dim * expand_v.

    ValueError where a size is no integer, or value heads do not share key heads evenly.
    """
    layer.hidden_size, layer.head_dim, layer.expand_v = hidden_size, head_dim, expand_v
    layer.num_heads = num_heads
    layer.num_v_heads = num_heads if num_v_heads is None else num_v_heads
    layer.head_k_dim, layer.head_v_dim = head_dim, int(head_dim * expand_v)
    layer.key_dim, layer.value_dim = num_heads * head_dim, layer.num_v_heads * layer.head_v_dim
    if not math.isclose(head_dim * expand_v, layer.head_v_dim, rel_tol=1e-5):
        raise ValueError(f"expand_v={expand_v} does not produce an integer value when multiplied by "
                         f"head_dim={head_dim}: got {head_dim * expand_v}")
    if layer.num_v_heads > num_heads and layer.num_v_heads % num_heads != 0:
        raise ValueError(f"num_v_heads={layer.num_v_heads} must be divisible by num_heads={num_heads}.")
