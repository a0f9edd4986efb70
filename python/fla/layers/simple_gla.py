"""Linear attention with one scalar gate a head. S. Yang et al., arXiv:2312.06635 (2023), appendix; Mamba-2's form."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import ShortConvolution
from fla.modules.activations import ACT2FN
from fla.ops.simple_gla import chunk_simple_gla, fused_recurrent_simple_gla

from ._call import Call, heads, repeat_heads
from ._gates import GatedOutput
from ._shapes import set_grouped_sizes

__all__ = ["SimpleGatedLinearAttention"]


class SimpleGatedLinearAttention(GatedOutput):
    """S_t = a_t S_{t-1} + k_t v_t^T, o_t = S_t^T q_t, with a_t a scalar for each head.

    Arguments as in GatedLinearAttention. forward takes [B, T, D] and returns (o
    [B, T, D], None, the cache).
    """

    use_output_gate = True

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        num_heads: int = 4,
        num_kv_heads: int | None = None,
        feature_map: str | None = None,
        use_short_conv: bool = True,
        conv_size: int = 4,
        conv_bias: bool = False,
        gate_fn: str = "swish",
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        gate_logit_normalizer: int = 16,
        fuse_norm: bool = True,
        layer_idx: int | None = None,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx = mode, layer_idx
        set_grouped_sizes(self, hidden_size, expand_k, expand_v, num_heads, num_kv_heads)
        self.feature_map_fn = ACT2FN[feature_map] if feature_map is not None else None
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        self.gate_logit_normalizer = gate_logit_normalizer

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim_per_group, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim_per_group, bias=False)
        self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_short_conv:
            self.q_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation="silu")
            self.k_conv1d = ShortConvolution(self.key_dim_per_group, conv_size, bias=conv_bias, activation="silu")
            self.v_conv1d = ShortConvolution(self.value_dim_per_group, conv_size, bias=conv_bias, activation="silu")
        self.gk_proj = nn.Linear(hidden_size, num_heads)
        self.make_output_norm(gate_fn, fuse_norm, elementwise_affine, norm_eps)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = call.project("q", "k", "v")
        if self.feature_map_fn is not None:
            q, k = self.feature_map_fn(q), self.feature_map_fn(k)
        q, k, v = heads(q, self.head_k_dim), heads(k, self.head_k_dim), heads(v, self.head_v_dim)
        k, v = repeat_heads(k, self.num_kv_groups), repeat_heads(v, self.num_kv_groups)
        g = F.logsigmoid(self.gk_proj(call.x)) / self.gate_logit_normalizer
        short = call.tokens <= 64 or self.mode == "fused_recurrent"
        attention = fused_recurrent_simple_gla if short else chunk_simple_gla
        o, state = attention(q=q, k=k, v=v, g=g, **call.options)
        call.save(state)
        return call.unpack(self.o_proj(self.gated(o, call.x))), None, past_key_values

    def state_size(self, **kwargs) -> int:
        """Numbers that the layer keeps for each sequence."""
        convolutions = [m for m in self.children() if isinstance(m, ShortConvolution)]
        return self.key_dim * self.head_v_dim + sum(m.state_size for m in convolutions)
