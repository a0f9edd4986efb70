"""LightNet. Z. Qin et al., arXiv:2405.21022 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.lang import load
from fla.modules import FusedRMSNormGated, ShortConvolution
from fla.modules.fused_norm_gate import rms_norm_swish_gate_linear

from ._call import Call, heads, merge

__all__ = ["LightNetAttention"]

LIGHTNET = load("lightnet")


class LightNetAttention(nn.Module):
    """Keys that are a softmax over the past, channel by channel: the additive recurrence of LightNet.

    expand_ratio: state rows a head. forward takes [B, T, D] and returns (o
    [B, T, D], None, the cache); the state is (S [N, H, K, V], log of the keys'
    sums [N, H, K]).
    """

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        num_heads: int | None = None,
        expand_ratio: int | None = 128,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        gate_low_rank_dim: int = 128,
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        layer_idx: int | None = None,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_chunk"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx, self.hidden_size = mode, layer_idx, hidden_size
        if expand_ratio is None and num_heads is None:
            raise RuntimeError("One of `expand_ratio` or `num_heads` should be provided.")
        self.num_heads = hidden_size // expand_ratio if num_heads is None else num_heads
        self.expand_ratio = hidden_size // num_heads if expand_ratio is None else expand_ratio
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        self.key_dim, self.value_dim = int(self.num_heads * self.expand_ratio), hidden_size
        self.gate_low_rank_dim = gate_low_rank_dim
        assert self.value_dim % self.num_heads == 0, f"value dim must be divisible by num_heads of {self.num_heads}"
        self.head_f_dim, self.head_i_dim = self.expand_ratio, hidden_size // self.num_heads

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_short_conv:
            self.q_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation=None)
            self.k_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation=None)
            self.v_conv1d = ShortConvolution(self.value_dim, conv_size, bias=conv_bias, activation=None)
        self.g_proj = nn.Sequential(nn.Linear(hidden_size, gate_low_rank_dim, bias=False),
                                    nn.Linear(gate_low_rank_dim, hidden_size, bias=False))
        self.g_norm = FusedRMSNormGated(hidden_size=hidden_size, elementwise_affine=elementwise_affine, eps=norm_eps)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = call.project("q", "k", "v")
        q, k, v = heads(F.silu(q), self.head_f_dim), heads(k, self.head_f_dim), heads(v, self.head_i_dim)
        o, state = LIGHTNET(q, k, v, scale=self.head_f_dim ** -0.5, **call.options)
        call.save(state)
        # The norm's own eps, not norm_eps: published checkpoints were trained so.
        o = rms_norm_swish_gate_linear(merge(o), self.g_proj(call.x), self.g_norm.weight, self.g_norm.bias,
                                       self.o_proj.weight, self.o_proj.bias)
        return call.unpack(o), None, past_key_values

    def state_size(self, **kwargs) -> int:
        """Numbers that the layer keeps for each sequence."""
        convolutions = [m for m in self.children() if isinstance(m, ShortConvolution)]
        return self.key_dim * (self.head_i_dim + 1) + sum(m.state_size for m in convolutions)
