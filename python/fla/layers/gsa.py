"""Gated slot attention. Y. Zhang et al., arXiv:2409.07146 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import RMSNorm, ShortConvolution
from fla.modules.feature_map import ReLUFeatureMap, SwishFeatureMap, T2RFeatureMap
from fla.modules.layernorm import rms_norm_linear
from fla.ops.gsa import chunk_gsa, fused_recurrent_gsa

from ._call import Call, heads, merge, repeat_heads
from ._shapes import set_grouped_sizes

__all__ = ["GatedSlotAttention"]


class GatedSlotAttention(nn.Module):
    """num_slots slots a head that forget at rate f = sigmoid(f_proj(x))^(1/gate_logit_normalizer) and take 1 - f.

    feature_map: swish, relu or t2r, of q and k. forward takes [B, T, D] and
    returns (o [B, T, D], None, the cache); the state is (keys [N, H, K, M],
    values [N, H, M, V]).
    """

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        num_heads: int = 4,
        num_kv_heads: int | None = None,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        num_slots: int | None = None,
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        gate_logit_normalizer: int = 8,
        feature_map: str = "swish",
        use_output_gate: bool = False,
        use_norm: bool = True,
        layer_idx: int | None = None,
        scale: float | None = 1.0,
        **kwargs,
    ):
        super().__init__()
        if mode not in ("chunk", "fused_recurrent"):
            raise NotImplementedError(f"Not supported mode `{mode}`.")
        self.mode, self.layer_idx, self.scale = mode, layer_idx, scale
        set_grouped_sizes(self, hidden_size, expand_k, expand_v, num_heads, num_kv_heads)
        self.num_slots = self.head_k_dim if num_slots is None else num_slots
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        self.gate_logit_normalizer = gate_logit_normalizer
        self.use_output_gate, self.use_norm = use_output_gate, use_norm

        if feature_map == "swish":
            self.feature_map = SwishFeatureMap()
        elif feature_map == "relu":
            self.feature_map = ReLUFeatureMap()
        elif feature_map == "t2r":
            self.feature_map = T2RFeatureMap(self.head_k_dim, self.head_k_dim)
        else:
            raise NotImplementedError(f"Feature map `{feature_map}` is not supported now.")
        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim_per_group, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim_per_group, bias=False)
        self.f_proj = nn.Linear(hidden_size, self.num_kv_heads * self.num_slots, bias=False)
        if use_short_conv:
            self.q_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation="silu")
            self.k_conv1d = ShortConvolution(self.key_dim_per_group, conv_size, bias=conv_bias, activation="silu")
            self.v_conv1d = ShortConvolution(self.value_dim_per_group, conv_size, bias=conv_bias, activation="silu")
        self.g_norm = RMSNorm(hidden_size, elementwise_affine, eps=norm_eps, dtype=torch.float32)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = call.project("q", "k", "v")
        q, k = (self.feature_map(heads(x, self.head_k_dim)) for x in (q, k))
        v = F.silu(heads(v, self.head_v_dim))
        f = F.logsigmoid(heads(self.f_proj(call.x), self.num_slots)) / self.gate_logit_normalizer
        s = (1 - f.exp()).to(f.dtype)
        k, v, f, s = (repeat_heads(x, self.num_kv_groups) for x in (k, v, f, s))
        short = call.tokens <= 64 or self.mode == "fused_recurrent"
        attention = fused_recurrent_gsa if short else chunk_gsa
        o, state = attention(q=q, k=k, v=v, s=s, g=f, scale=self.scale, **call.options)
        call.save(state)
        # The norm's own eps, not norm_eps: published checkpoints were trained so.
        o = rms_norm_linear(F.silu(merge(o)), self.g_norm.weight, self.g_norm.bias, self.o_proj.weight,
                            self.o_proj.bias)
        return call.unpack(o), None, past_key_values
