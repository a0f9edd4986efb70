"""Gated DeltaNet. S. Yang, J. Kautz, A. Hatamizadeh, arXiv:2412.06464 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.ops.gated_delta_rule import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule

from ._call import Call, heads
from ._delta import DeltaLayer
from ._shapes import set_head_sizes

__all__ = ["GatedDeltaNet"]


class GatedDeltaNet(DeltaLayer):
    """S_t = e^{g_t} (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T, with q and k of unit length.

    hidden_size: D. Keys have num_heads heads of head_dim, values num_v_heads heads
    of head_dim * expand_v. allow_neg_eigval: beta reaches 2. use_gate: a gated
    norm of the output. forward takes [B, T, D] and returns (o [B, T, D], None,
    the cache).
    """

    def __init__(
        self,
        hidden_size: int = 2048,
        expand_v: float = 2,
        head_dim: int = 256,
        num_heads: int = 6,
        num_v_heads: int | None = None,
        mode: str = "chunk",
        use_gate: bool = True,
        use_short_conv: bool = True,
        allow_neg_eigval: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        layer_idx: int | None = None,
        norm_eps: float = 1e-5,
        **kwargs,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx = mode, layer_idx
        set_head_sizes(self, hidden_size, head_dim, num_heads, num_v_heads, expand_v)
        self.use_gate, self.allow_neg_eigval = use_gate, allow_neg_eigval

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        self.a_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.make_decay(self.num_v_heads)
        self.make_convolutions(use_short_conv, conv_size, conv_bias, q=self.key_dim, k=self.key_dim, v=self.value_dim)
        self.make_output(use_gate, norm_eps)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = self.project(call)
        q, k, v = heads(q, self.head_k_dim), heads(k, self.head_k_dim), heads(v, self.head_v_dim)
        beta = self.b_proj(call.x).sigmoid()
        if self.allow_neg_eigval:
            beta = beta * 2.0
        rule = fused_recurrent_gated_delta_rule if self.short(call) else chunk_gated_delta_rule
        o, state = rule(q=q, k=k, v=v, g=self.log_decay(self.a_proj(call.x)), beta=beta,
                        use_qk_l2norm_in_kernel=True, **call.options)
        call.save(state)
        return call.unpack(self.o_proj(self.output(o, call.x))), None, past_key_values
