"""Comba. J. Hu et al., arXiv:2506.02475 (2025)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.ops.comba import chunk_comba, fused_recurrent_comba

from ._call import Call, heads, repeat_heads
from ._delta import DeltaLayer
from ._shapes import set_head_sizes

__all__ = ["Comba"]


class Comba(DeltaLayer):
    """S_t = e^{g_t} S_{t-1} + beta_t k_t (v_t - (e^{g_t} S_{t-1})^T p_t)^T, p_t = sigmoid(decay) k_t.

    Sizes as in GatedDeltaNet. use_inner_decay: whether p differs from k.
    use_output_correction: the query is q_t - D p_t, D starting at
    correction_factor. forward takes [B, T, D] and returns (o [B, T, D], None,
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
        use_short_conv: bool = True,
        use_output_gate: bool = True,
        use_output_correction: bool = True,
        use_inner_decay: bool = True,
        correction_factor: float = 1.0,
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
        self.use_output_gate, self.use_output_correction = use_output_gate, use_output_correction
        self.use_inner_decay = use_inner_decay

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        self.a_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
        if use_inner_decay:
            self.decay = nn.Parameter(torch.ones(num_heads))
        if use_output_correction:
            self.D = nn.Parameter(torch.ones(num_heads) * correction_factor)
            self.D._no_weight_decay = True
        self.make_decay(self.num_v_heads)
        self.make_convolutions(use_short_conv, conv_size, conv_bias, q=self.key_dim, k=self.key_dim, v=self.value_dim)
        self.make_output(use_output_gate, norm_eps, activation="sigmoid")

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = self.project(call)
        q, k, v = heads(q, self.head_k_dim), heads(k, self.head_k_dim), heads(v, self.head_v_dim)
        p = k * self.decay.sigmoid()[:, None] if self.use_inner_decay else k
        if self.use_output_correction:
            q = q - self.D[:, None] * p
        groups = max(1, self.num_v_heads // self.num_heads)
        q, k, p = (repeat_heads(x, groups) for x in (q, k, p))
        rule = fused_recurrent_comba if self.short(call) else chunk_comba
        o, state = rule(q=q, k=k, v=v, p=p, g=self.log_decay(self.a_proj(call.x)), beta=self.b_proj(call.x).sigmoid(),
                        use_qk_l2norm_in_kernel=True, **call.options)
        call.save(state)
        return call.unpack(self.o_proj(self.output(o, call.x))), None, past_key_values
