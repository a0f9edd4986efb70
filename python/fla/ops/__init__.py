"""Linear-attention operators on PyTorch tensors: one compiled definition behind the forms of each family.

``chunk_*`` and ``fused_chunk_*`` take sequences in chunks, ``fused_recurrent_*``
token by token, ``parallel_*`` have no states; ``naive_*``, in the families'
modules, are plain PyTorch. All are differentiable. Names are found at their first use.
"""

import importlib

_FAMILIES = {
    "abc": ("chunk_abc",),
    "attn": ("parallel_attn",),
    "based": ("fused_chunk_based", "parallel_based"),
    "comba": ("chunk_comba", "fused_recurrent_comba"),
    "common": (),
    "delta_rule": ("chunk_delta_rule", "fused_chunk_delta_rule", "fused_recurrent_delta_rule", "parallel_delta_rule"),
    "gated_delta_product": ("chunk_gated_delta_product",),
    "gated_delta_rule": ("chunk_gated_delta_rule", "chunk_gdn", "fused_recurrent_gated_delta_rule",
                         "fused_recurrent_gdn"),
    "gated_oja_rule": ("chunk_gated_oja_rule", "fused_recurrent_gated_oja_rule"),
    "gdn2": ("chunk_gdn2", "fused_recurrent_gdn2"),
    "generalized_delta_rule": ("chunk_dplr_delta_rule", "chunk_iplr_delta_rule", "fused_recurrent_dplr_delta_rule",
                               "fused_recurrent_iplr_delta_rule"),
    "gla": ("chunk_gla", "fused_chunk_gla", "fused_recurrent_gla"),
    "gsa": ("chunk_gsa", "fused_recurrent_gsa"),
    "hgrn": ("chunk_hgrn", "fused_recurrent_hgrn"),
    "kda": ("chunk_kda", "fused_recurrent_kda"),
    "lightning_attn": ("chunk_lightning_attn", "fused_recurrent_lightning_attn"),
    "linear_attn": ("chunk_linear_attn", "fused_chunk_linear_attn", "fused_recurrent_linear_attn"),
    "precond_gated_delta_rule": ("chunk_precond_gated_delta_rule", "fused_recurrent_precond_gated_delta_rule"),
    "precond_kda": ("chunk_precond_kda", "fused_recurrent_precond_kda"),
    "rebased": ("parallel_rebased",),
    "retention": ("chunk_retention", "fused_chunk_retention", "fused_recurrent_retention", "parallel_retention"),
    "rwkv4": ("fused_recurrent_rwkv4",),
    "rwkv6": ("chunk_rwkv6", "fused_recurrent_rwkv6"),
    "rwkv7": ("chunk_rwkv7", "fused_mul_recurrent_rwkv7", "fused_recurrent_rwkv7"),
    "simple_gla": ("chunk_simple_gla", "fused_chunk_simple_gla", "fused_recurrent_simple_gla", "parallel_simple_gla"),
    "utils": (),
}
_OWNERS = {name: family for family, names in _FAMILIES.items() for name in names}
# Operators of this kind of library that are not here yet: asking for one says so.
_LATER = {"parallel_forgetting_attn", "parallel_nsa", "parallel_moba", "parallel_path_attn", "chunk_mesa_net",
          "chunk_log_linear_attn", "deltaformer_attn", "chunk_ttt_linear", "fused_chunk_ttt_linear",
          "chunk_titans_linear", "fused_attnres", "parallel_parallax", "parallel_wall_attn",
          "parallel_wall_attn_decode"}
__all__ = sorted(_OWNERS)


def __getattr__(name: str):
    if name in _OWNERS:
        return getattr(importlib.import_module(f".{_OWNERS[name]}", __name__), name)
    if name in _FAMILIES:
        return importlib.import_module(f".{name}", __name__)
    if name in _LATER:
        raise ImportError(f"fla.ops.{name} does not exist yet; the families that do: {', '.join(sorted(_FAMILIES))}")
    raise AttributeError(f"module 'fla.ops' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__, *_FAMILIES})
