"""Gated linear attention. S. Yang et al., arXiv:2312.06635 (2023)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import ShortConvolution
from fla.modules.activations import ACT2FN
from fla.ops.gla import chunk_gla, fused_chunk_gla, fused_recurrent_gla

from ._call import Call, heads, repeat_heads
from ._gates import GatedOutput
from ._shapes import set_grouped_sizes

__all__ = ["GatedLinearAttention"]


class GatedLinearAttention(GatedOutput):
    """S_t = Diag(a_t) S_{t-1} + k_t v_t^T, o_t = S_t^T q_t, a gate of low rank for each key channel.

    hidden_size: D. expand_k, expand_v: widths of keys and values, as parts of D,
    over num_heads heads; num_kv_heads heads of keys, values and gates are shared.
    feature_map: an activation of q and k. gate_logit_normalizer: divides the log
    gate; clamp_min: its smallest value. forward takes [B, T, D] and returns
    (o [B, T, D], None, the cache).
    """

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 0.5,
        expand_v: float = 1.0,
        num_heads: int = 4,
        num_kv_heads: int | None = None,
        feature_map: str | None = None,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        use_output_gate: bool = True,
        gate_fn: str = "swish",
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        gate_logit_normalizer: int = 16,
        gate_low_rank_dim: int = 16,
        clamp_min: float | None = None,
        fuse_norm: bool = True,
        layer_idx: int | None = None,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent", "fused_chunk"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx = mode, layer_idx
        set_grouped_sizes(self, hidden_size, expand_k, expand_v, num_heads, num_kv_heads)
        self.feature_map_fn = ACT2FN[feature_map] if feature_map is not None else None
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        self.use_output_gate = use_output_gate
        self.gate_logit_normalizer, self.clamp_min = gate_logit_normalizer, clamp_min

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim_per_group, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim_per_group, bias=False)
        if use_output_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_short_conv:
            self.q_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation="silu")
            self.k_conv1d = ShortConvolution(self.key_dim_per_group, conv_size, bias=conv_bias, activation="silu")
            self.v_conv1d = ShortConvolution(self.value_dim_per_group, conv_size, bias=conv_bias, activation="silu")
        self.gk_proj = nn.Sequential(nn.Linear(hidden_size, gate_low_rank_dim, bias=False),
                                     nn.Linear(gate_low_rank_dim, self.key_dim_per_group, bias=True))
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)
        self.make_output_norm(gate_fn, fuse_norm, elementwise_affine, norm_eps)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = call.project("q", "k", "v")
        q = heads(q, self.head_k_dim)
        k, gk = (repeat_heads(heads(x, self.head_k_dim), self.num_kv_groups) for x in (k, self.gk_proj(call.x)))
        v = repeat_heads(heads(v, self.head_v_dim), self.num_kv_groups)
        gk = F.logsigmoid(gk) / self.gate_logit_normalizer
        if self.clamp_min is not None:
            gk = torch.clamp_min(gk, self.clamp_min)
        if self.feature_map_fn is not None:
            q, k = self.feature_map_fn(q), self.feature_map_fn(k)

        mode = "fused_recurrent" if call.tokens <= 64 else self.mode
        if mode == "fused_recurrent":
            o, state = fused_recurrent_gla(q=q, k=k, v=v, gk=gk, **call.options)
        elif mode == "chunk" or call.cu_seqlens is not None:     # fused_chunk takes no packed sequences
            o, state = chunk_gla(q=q, k=k, v=v, g=gk, **call.options)
        else:
            o, state = fused_chunk_gla(q=q, k=k, v=v, g=gk, initial_state=call.recurrent_state,
                                       output_final_state=call.keep)
        call.save(state)
        return call.unpack(self.o_proj(self.gated(o, call.x))), None, past_key_values
