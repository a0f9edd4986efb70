"""Rodimus*. Z. He et al., arXiv:2410.06577 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import RMSNorm, RotaryEmbedding, ShortConvolution
from fla.modules.layernorm_gated import RMSNormGated
from fla.ops.gla import chunk_gla, fused_recurrent_gla

from ._call import Call
from ._softmax import SoftmaxAttention

__all__ = ["RodimusAttention", "SlidingWindowSharedKeyAttention", "align_multiple"]


def align_multiple(value: int, multiple_size: int = 8) -> int:
    """The next multiple."""
    return -(-value // multiple_size) * multiple_size


class RodimusAttention(nn.Module):
    """A mixer of one head: GLA of expand_ratio keys whose gate and temperature depend on the data.

    hidden_size: D; the state is expand_ratio x 2 D. block_type: rodimus, which
    keeps its state itself, or rodimus_plus, where the third output is (cache,
    (recurrent state, convolution's state)) for the attention that follows to keep.
    forward takes [B, T, D] and returns (o [B, T, D], None, the cache).
    """

    def __init__(
        self,
        block_type: str = "rodimus",
        mode: str = "chunk",
        hidden_size: int = 1024,
        input_gate_low_rank: float | str | None = "auto",
        expand_ratio: int = 64,
        use_short_conv: bool = True,
        conv_size: int = 4,
        conv_bias: bool = True,
        norm_eps: float = 1e-5,
        k_norm_eps: float | None = None,
        residual_in_fp32: bool = True,
        layer_idx: int | None = None,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        self.block_type, self.mode, self.hidden_size, self.layer_idx = block_type, mode, hidden_size, layer_idx
        self.d_inner = align_multiple(int(hidden_size * 2), 8)
        self.expand_ratio = self.mem_size = expand_ratio
        self.input_gate_low_rank = max(hidden_size // 64, 16) if input_gate_low_rank == "auto" else input_gate_low_rank
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        self.norm_eps, self.k_norm_eps = norm_eps, 1e-12 if k_norm_eps is None else k_norm_eps
        self.residual_in_fp32 = residual_in_fp32

        self.gate_proj = nn.Linear(hidden_size, self.d_inner, bias=False)
        self.up_proj = nn.Linear(hidden_size, self.d_inner, bias=False)
        self.activation_norm = RMSNormGated(hidden_size=self.d_inner, eps=norm_eps, norm_before_gate=False)
        self.down_proj = nn.Linear(self.d_inner, hidden_size, bias=False)
        if use_short_conv:
            self.short_conv = ShortConvolution(self.d_inner, conv_size, bias=conv_bias, activation="silu")
        self.residual_weight = nn.Parameter(torch.ones(self.d_inner, dtype=torch.float32 if residual_in_fp32 else None))
        self.k_proj = nn.Linear(self.d_inner, self.mem_size, bias=False)
        self.q_proj = nn.Linear(self.d_inner, self.mem_size, bias=False)
        self.g_gate_proj = nn.Linear(self.d_inner, self.mem_size, bias=True)
        self.tau_gate_proj = nn.Linear(self.d_inner, self.mem_size, bias=True)
        self.i_gate_proj = nn.Sequential(nn.Linear(self.d_inner, self.input_gate_low_rank, bias=False),
                                         nn.Linear(self.input_gate_low_rank, self.d_inner, bias=True), nn.Sigmoid())

    def _gates(self, x: torch.Tensor):
        """(input gate of the keys, log decay), [..., mem_size] in float32."""
        g, tau = (F.linear(x, gate.weight).float() + gate.bias.float() for gate in (self.g_gate_proj,
                                                                                    self.tau_gate_proj))
        g, tau = F.softplus(g), tau.sigmoid()
        return g ** tau, -g * tau

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        x, gate = self.up_proj(call.x), self.gate_proj(call.x)
        shifted, conv_state = x, None
        if self.use_short_conv:
            shifted, conv_state = self.short_conv(x=x, cache=call.state.get("conv_state"),
                                                  output_final_state=call.keep, cu_seqlens=call.cu_seqlens)
        rate, log_decay = self._gates(shifted)
        q, v = self.q_proj(shifted), self.i_gate_proj(x) * x
        k = F.normalize(self.k_proj(shifted).float(), dim=-1, eps=self.k_norm_eps) * rate
        q, k, v, g = (y.unsqueeze(-2) for y in (q, k.to(q.dtype), v, log_decay))
        if call.tokens == 1 or self.mode == "fused_recurrent":
            o, state = fused_recurrent_gla(q=q, k=k, v=v, gk=g, **call.options)
        else:
            o, state = chunk_gla(q=q, k=k, v=v, g=g, **call.options)
        residual = shifted.float() if self.residual_in_fp32 else shifted
        o = (o.squeeze(-2) + residual * self.residual_weight).to(v.dtype)
        o = call.unpack(self.down_proj(self.activation_norm(o, gate)))
        if self.block_type == "rodimus":
            call.save(state, conv_state=conv_state)
            return o, None, past_key_values
        return o, None, (past_key_values, (state, conv_state) if call.keep else None)


class SlidingWindowSharedKeyAttention(SoftmaxAttention):
    """Windowed attention of num_heads query and value heads that share one key head."""

    def __init__(
        self,
        hidden_size: int = 2048,
        num_heads: int = 32,
        qkv_bias: bool = False,
        qk_norm: bool = False,
        window_size: int = 2048,
        rope_theta: float | None = 10000.0,
        max_position_embeddings: int | None = None,
        layer_idx: int | None = None,
    ):
        super().__init__()
        self.hidden_size, self.num_heads, self.head_dim = hidden_size, num_heads, hidden_size // num_heads
        self.qkv_bias, self.qk_norm, self.window_size = qkv_bias, qk_norm, window_size
        self.rope_theta, self.max_position_embeddings = rope_theta, max_position_embeddings
        self.layer_idx = layer_idx

        self.q_proj = nn.Linear(hidden_size, hidden_size, bias=qkv_bias)
        self.k_proj = nn.Linear(hidden_size, self.head_dim, bias=qkv_bias)
        self.v_proj = nn.Linear(hidden_size, hidden_size, bias=qkv_bias)
        self.o_proj = nn.Linear(hidden_size, hidden_size, bias=False)
        if qk_norm:
            self.q_norm = RMSNorm(self.head_dim, dtype=torch.float32)
            self.k_norm = RMSNorm(self.head_dim, dtype=torch.float32)
        self.rotary = RotaryEmbedding(dim=self.head_dim, base=rope_theta)

    def _other_states(self, kwargs) -> dict:
        recurrent_state, conv_state = kwargs.get("rodimus_caches") or (None, None)
        return {"recurrent_state": recurrent_state, "conv_state": conv_state}
