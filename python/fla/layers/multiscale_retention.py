"""Multi-scale retention (RetNet). Y. Sun et al., arXiv:2307.08621 (2023)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.modules import RotaryEmbedding, ShortConvolution
from fla.modules.activations import ACT2FN
from fla.ops.retention import chunk_retention, fused_chunk_retention, fused_recurrent_retention, parallel_retention

from ._call import Call, heads, repeat_heads
from ._gates import GatedOutput
from ._shapes import set_grouped_sizes

__all__ = ["MultiScaleRetention"]


class MultiScaleRetention(GatedOutput):
    """S_t = gamma_h S_{t-1} + k_t v_t^T with a fixed decay for each head and rotary positions.

    Arguments as in GatedLinearAttention, without its gates. forward takes
    [B, T, D] and returns (o [B, T, D], None, the cache).
    """

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 2.0,
        num_heads: int = 8,
        num_kv_heads: int | None = None,
        feature_map: str | None = None,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        use_output_gate: bool = True,
        gate_fn: str = "swish",
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        fuse_norm: bool = True,
        layer_idx: int | None = None,
        **kwargs,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_chunk", "parallel", "fused_recurrent"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx = mode, layer_idx
        set_grouped_sizes(self, hidden_size, expand_k, expand_v, num_heads, num_kv_heads)
        assert self.head_k_dim <= 256, "head_k_dim must be less than or equal to 256"
        self.feature_map_fn = ACT2FN[feature_map] if feature_map is not None else None
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        self.use_output_gate = use_output_gate

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim_per_group, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim_per_group, bias=False)
        if use_output_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_short_conv:
            self.q_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation="silu")
            self.k_conv1d = ShortConvolution(self.key_dim_per_group, conv_size, bias=conv_bias, activation="silu")
            self.v_conv1d = ShortConvolution(self.value_dim_per_group, conv_size, bias=conv_bias, activation="silu")
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)
        self.make_output_norm(gate_fn, fuse_norm, elementwise_affine, norm_eps)
        self.rotary = RotaryEmbedding(dim=self.head_k_dim)

    def _retention(self, call: Call):
        if call.tokens <= 64 or self.mode == "fused_recurrent":
            return fused_recurrent_retention
        if self.mode == "parallel" and not call.keep:      # which neither takes nor gives a state
            return lambda *, initial_state, output_final_state, **given: parallel_retention(**given)
        return fused_chunk_retention if self.mode == "fused_chunk" else chunk_retention

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = call.project("q", "k", "v")
        q, k = heads(q, self.head_k_dim), heads(k, self.head_k_dim)
        if self.feature_map_fn is not None:
            q, k = self.feature_map_fn(q), self.feature_map_fn(k)
        q, k = call.rotate(self.rotary, q, k)
        k = repeat_heads(k, self.num_kv_groups)
        v = repeat_heads(heads(v, self.head_v_dim), self.num_kv_groups)
        o, state = self._retention(call)(q=q, k=k, v=v, **call.options)
        call.save(state)
        return call.unpack(self.o_proj(self.gated(o, call.x))), None, past_key_values
