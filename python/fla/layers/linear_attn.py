"""Linear attention with a feature map. A. Katharopoulos et al., arXiv:2006.16236 (2020)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import RMSNorm
from fla.modules.feature_map import DPFPFeatureMap, HadamardFeatureMap, HedgehogFeatureMap, T2RFeatureMap
from fla.ops.linear_attn import chunk_linear_attn, fused_chunk_linear_attn, fused_recurrent_linear_attn

from ._call import Call, heads, merge, repeat_heads
from ._shapes import set_grouped_sizes

__all__ = ["LinearAttention"]

_LEARNED = {"hedgehog": HedgehogFeatureMap, "t2r": T2RFeatureMap, "elementwise_product": HadamardFeatureMap,
            "dpfp": DPFPFeatureMap}
_FIXED = {"relu": nn.ReLU, "identity": nn.Identity}
_OPERATORS = {"chunk": chunk_linear_attn, "fused_chunk": fused_chunk_linear_attn,
              "fused_recurrent": fused_recurrent_linear_attn}


def _elu_plus_one(x: torch.Tensor) -> torch.Tensor:
    return F.elu(x) + 1


class LinearAttention(nn.Module):
    """S_t = S_{t-1} + phi(k_t) v_t^T, o_t = S_t^T phi(q_t).

    feature_map: hedgehog, t2r, elementwise_product, dpfp, elu, relu or identity;
    tie_feature_map_qk: one map for q and k. norm_q, norm_k: features that sum to
    one. do_feature_map_norm: divides by phi(q) . sum of phi(k). output_norm:
    rmsnorm or identity. forward takes [B, T, D] and returns (o [B, T, D], None,
    the cache).
    """

    use_short_conv = False

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        num_heads: int = 8,
        num_kv_heads: int | None = None,
        feature_map: str = "elementwise_product",
        tie_feature_map_qk: bool = False,
        output_norm: str = "rmsnorm",
        norm_q: bool = False,
        norm_k: bool = False,
        do_feature_map_norm: bool = False,
        elementwise_affine: bool = True,
        norm_eps: float = 1e-5,
        layer_idx: int | None = None,
        **kwargs,
    ):
        super().__init__()
        assert mode in _OPERATORS, f"Not supported mode `{mode}`."
        self.mode, self.layer_idx = mode, layer_idx
        set_grouped_sizes(self, hidden_size, expand_k, expand_v, num_heads, num_kv_heads)
        self.do_feature_map_norm, self.norm_q, self.norm_k = do_feature_map_norm, norm_q, norm_k
        self._make_feature_maps(feature_map, tie_feature_map_qk)

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim_per_group, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim_per_group, bias=False)
        if output_norm == "rmsnorm":
            self.norm = RMSNorm(hidden_size=self.head_v_dim, elementwise_affine=elementwise_affine, eps=norm_eps,
                                dtype=torch.float32)
        elif output_norm == "identity":
            self.norm = nn.Identity()
        else:
            raise NotImplementedError(f"Not supported output norm `{output_norm}`.")
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def _make_feature_maps(self, name: str, tied: bool) -> None:
        if name in _LEARNED:
            self.feature_map_q = _LEARNED[name](head_dim=self.head_k_dim)
            self.feature_map_k = self.feature_map_q if tied else _LEARNED[name](head_dim=self.head_k_dim)
        elif name in _FIXED:
            self.feature_map_q, self.feature_map_k = _FIXED[name](), _FIXED[name]()
        elif name == "elu":
            self.feature_map_q = self.feature_map_k = _elu_plus_one
        else:
            raise NotImplementedError(f"Not supported feature map `{name}`.")

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = call.project("q", "k", "v")
        q = self.feature_map_q(heads(q, self.head_k_dim))
        k = self.feature_map_k(repeat_heads(heads(k, self.head_k_dim), self.num_kv_groups))
        v = repeat_heads(heads(v, self.head_v_dim), self.num_kv_groups)
        if self.norm_q:
            q = q / (q.sum(-1, True) + 1e-4)
        if self.norm_k:
            k = k / (k.sum(-1, True) + 1e-4)
        operator = _OPERATORS["fused_recurrent" if call.tokens <= 64 else self.mode]
        o, state = operator(q=q, k=k, v=v, normalize=self.do_feature_map_norm, **call.options)
        call.save(state)
        return call.unpack(self.o_proj(merge(self.norm(o)))), None, past_key_values
