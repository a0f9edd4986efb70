"""Attention with bounded-memory control. H. Peng et al., arXiv:2110.02488 (2021)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.lang import load
from fla.modules import FusedRMSNormGated, RMSNorm, RotaryEmbedding, ShortConvolution

from ._call import Call, heads, merge
from ._shapes import set_grouped_sizes

__all__ = ["ABCAttention"]

ABC = load("abc")


class ABCAttention(nn.Module):
    """A memory of num_slots slots, each a softmax-weighted mean of the past by the control s_proj(x).

    hidden_size: D. expand_k, expand_v: widths of keys and values as parts of D.
    clamp_min, clamp_max: bounds of the control. use_rope: rotary positions.
    use_input_gate: swish of q, k, v. forward takes [B, T, D] and returns (o
    [B, T, D], None, the cache); the state is (keys [N, H, K, M], values
    [N, H, M, V], log of the weights' sums [N, H, M]).
    """

    def __init__(
        self,
        hidden_size: int = 1024,
        expand_k: float = 0.5,
        expand_v: float = 1.0,
        num_heads: int = 4,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        num_slots: int | None = None,
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        gate_low_rank_dim: int = 16,
        gate_logit_normalizer: int = 16,
        use_rope: bool = True,
        use_input_gate: bool = False,
        use_output_gate: bool = True,
        use_norm: bool = True,
        clamp_min: float | None = -32,
        clamp_max: float | None = 32,
        layer_idx: int | None = None,
        **kwargs,
    ):
        super().__init__()
        self.layer_idx = layer_idx
        set_grouped_sizes(self, hidden_size, expand_k, expand_v, num_heads)
        self.num_slots = self.head_k_dim if num_slots is None else num_slots
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        self.gate_low_rank_dim, self.gate_logit_normalizer = gate_low_rank_dim, gate_logit_normalizer
        self.use_rope, self.use_input_gate = use_rope, use_input_gate
        self.use_output_gate, self.use_norm = use_output_gate, use_norm
        self.norm_eps, self.clamp_min, self.clamp_max = norm_eps, clamp_min, clamp_max

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_output_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        self.s_proj = nn.Linear(hidden_size, num_heads * self.num_slots, bias=False)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)
        if use_short_conv:
            self.q_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation="silu")
            self.k_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation="silu")
            self.v_conv1d = ShortConvolution(self.value_dim, conv_size, bias=conv_bias, activation="silu")
        if use_norm and use_output_gate:
            self.g_norm = FusedRMSNormGated(hidden_size=self.head_v_dim, elementwise_affine=elementwise_affine,
                                            eps=norm_eps)
        elif use_norm:
            self.g_norm = RMSNorm(hidden_size=self.head_v_dim, elementwise_affine=elementwise_affine, eps=norm_eps,
                                  dtype=torch.float32)
        if use_rope:
            self.rotary = RotaryEmbedding(self.head_k_dim)

    def _output(self, o: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if not self.use_output_gate:
            return merge(self.g_norm(o) if self.use_norm else o)
        g = heads(self.g_proj(x), self.head_v_dim)
        return merge(self.g_norm(o, g) if self.use_norm else F.silu(g) * o)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = call.project("q", "k", "v")
        if self.use_input_gate:
            q, k, v = (F.silu(x) for x in (q, k, v))
        q, k, v = heads(q, self.head_k_dim), heads(k, self.head_k_dim), heads(v, self.head_v_dim)
        if self.use_rope:
            q, k = call.rotate(self.rotary, q, k)
        s = heads(self.s_proj(call.x), self.num_slots).clamp(self.clamp_min, self.clamp_max)
        o, state = ABC(q, k, v, s, scale=self.head_k_dim ** -0.5, **call.options)
        call.save(state)
        return call.unpack(self.o_proj(self._output(o, call.x))), None, past_key_values

    def state_size(self, seq_len: int = 2048) -> int:
        """Numbers that the layer keeps for each sequence, about."""
        return 2 * self.num_slots * self.hidden_size
