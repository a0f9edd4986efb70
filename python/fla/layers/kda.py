"""Kimi delta attention. Kimi Team, arXiv:2510.26692 (2025)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.modules import FusedRMSNormGated
from fla.ops.kda import chunk_kda, fused_recurrent_kda
from fla.ops.kda.gate import fused_kda_gate

from ._call import Call, heads
from ._delta import DeltaLayer
from ._gates import fresh
from ._shapes import set_head_sizes

__all__ = ["KimiDeltaAttention"]


class KimiDeltaAttention(DeltaLayer):
    """S_t = (I - beta_t k_t k_t^T) Diag(e^{g_t}) S_{t-1} + beta_t k_t v_t^T, a decay for each key channel.

    g = -exp(A_log) softplus(f(x) + dt_bias); with safe_gate, lower_bound
    sigmoid(exp(A_log) (f(x) + dt_bias)). Sizes as in GatedDeltaNet, with a gate
    for each value head. forward takes [B, T, D] and returns (o [B, T, D], None,
    the cache).
    """

    decay_range = (1.0, 16.0)

    def __init__(
        self,
        hidden_size: int = 2048,
        expand_v: float = 1,
        head_dim: int = 128,
        num_heads: int = 16,
        num_v_heads: int | None = None,
        mode: str = "chunk",
        use_short_conv: bool = True,
        allow_neg_eigval: bool = False,
        safe_gate: bool = False,
        lower_bound: float | None = None,
        conv_size: int = 4,
        conv_bias: bool = False,
        layer_idx: int | None = None,
        norm_eps: float = 1e-5,
        **kwargs,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        if safe_gate and lower_bound is None:
            raise ValueError("KimiDeltaAttention: `lower_bound` must be specified when `safe_gate=True`")
        self.mode, self.layer_idx = mode, layer_idx
        set_head_sizes(self, hidden_size, head_dim, num_heads, num_v_heads, expand_v)
        self.allow_neg_eigval, self.safe_gate, self.lower_bound = allow_neg_eigval, safe_gate, lower_bound

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        self.make_convolutions(use_short_conv, conv_size, conv_bias, q=self.key_dim, k=self.key_dim, v=self.value_dim)
        self.gate_dim = self.num_v_heads * self.head_k_dim
        self.f_proj = nn.Sequential(nn.Linear(hidden_size, self.head_v_dim, bias=False),
                                    nn.Linear(self.head_v_dim, self.gate_dim, bias=False))
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.make_decay(self.num_v_heads, self.gate_dim)
        self.g_proj = nn.Sequential(nn.Linear(hidden_size, self.head_v_dim, bias=False),
                                    nn.Linear(self.head_v_dim, self.value_dim, bias=True))
        self._gated = True
        self.o_norm = FusedRMSNormGated(self.head_v_dim, activation="sigmoid", eps=norm_eps)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)

    def reset_decay(self) -> None:
        super().reset_decay()
        if self.safe_gate:
            fresh(self.A_log, 0.0)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = self.project(call)
        q, k, v = heads(q, self.head_k_dim), heads(k, self.head_k_dim), heads(v, self.head_v_dim)
        g = fused_kda_gate(heads(self.f_proj(call.x), self.head_k_dim), self.A_log, dt_bias=self.dt_bias,
                           lower_bound=self.lower_bound)
        beta = self.b_proj(call.x).sigmoid()
        if self.allow_neg_eigval:
            beta = beta * 2.0
        rule = fused_recurrent_kda if self.short(call) else chunk_kda
        o, state = rule(q=q, k=k, v=v, g=g, beta=beta, use_qk_l2norm_in_kernel=True, **call.options)
        call.save(state)
        return call.unpack(self.o_proj(self.output(o, call.x))), None, past_key_values
