"""Gated DeltaProduct. J. Siems et al., arXiv:2502.10297 (2025)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.ops.gated_delta_product import chunk_gated_delta_product

from ._call import Call, heads, repeat_heads
from ._delta import DeltaLayer
from ._shapes import set_head_sizes

__all__ = ["GatedDeltaProduct"]


class GatedDeltaProduct(DeltaLayer):
    """num_householder delta-rule steps a token, the decay before the first of them.

    Sizes as in GatedDeltaNet; k_proj, v_proj and b_proj are num_householder times
    as wide. use_forget_gate: whether there is a decay. forward takes [B, T, D] and
    returns (o [B, T, D], None, the cache).
    """

    def __init__(
        self,
        hidden_size: int = 2048,
        expand_v: float = 2,
        head_dim: int = 256,
        num_heads: int = 6,
        num_v_heads: int | None = None,
        mode: str = "chunk",
        use_output_gate: bool = True,
        use_short_conv: bool = True,
        conv_size: int = 4,
        conv_bias: bool = False,
        layer_idx: int | None = None,
        norm_eps: float = 1e-5,
        use_forget_gate: bool = True,
        allow_neg_eigval: bool = True,
        num_householder: int = 2,
        **kwargs,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx = mode, layer_idx
        set_head_sizes(self, hidden_size, head_dim, num_heads, num_v_heads, expand_v)
        self.use_forget_gate, self.allow_neg_eigval = use_forget_gate, allow_neg_eigval
        self.use_output_gate, self.num_householder = use_output_gate, num_householder
        n = num_householder

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim * n, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim * n, bias=False)
        self.b_proj = nn.Linear(hidden_size, self.num_v_heads * n, bias=False)
        if use_forget_gate:
            self.a_proj = nn.Linear(hidden_size, self.num_v_heads, bias=False)
            self.make_decay(self.num_v_heads)
        self.make_convolutions(use_short_conv, conv_size, conv_bias, q=self.key_dim, k=self.key_dim * n,
                               v=self.value_dim * n)
        self.make_output(use_output_gate, norm_eps)

    def _steps(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, n * C] as the n steps of each token, [B, T * n, C]."""
        return x.unflatten(-1, (self.num_householder, -1)).flatten(1, 2)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = self.project(call)
        groups = max(1, self.num_v_heads // self.num_heads)
        q = repeat_heads(heads(q, self.head_k_dim), groups)
        k = repeat_heads(heads(self._steps(k), self.head_k_dim), groups)
        v = heads(self._steps(v), self.head_v_dim)
        beta = self.b_proj(call.x).sigmoid()
        if self.allow_neg_eigval:
            beta = beta * 2.0
        g = self.log_decay(self.a_proj(call.x)) if self.use_forget_gate else None
        o, state = chunk_gated_delta_product(q=q, k=k, v=v, g=g, beta=self._steps(beta),
                                             num_householder=self.num_householder, use_qk_l2norm_in_kernel=True,
                                             **call.options)
        call.save(state)
        return call.unpack(self.o_proj(self.output(o, call.x))), None, past_key_values
