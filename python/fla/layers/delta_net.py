"""DeltaNet. S. Yang, B. Wang, Y. Zhang, Y. Shen, Y. Kim, arXiv:2406.06484 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import ShortConvolution
from fla.ops.delta_rule import chunk_delta_rule, fused_recurrent_delta_rule

from ._call import Call, heads
from ._delta import DeltaLayer
from ._shapes import set_grouped_sizes

__all__ = ["DeltaNet"]

_ACTIVATIONS = {"silu": F.silu, "relu": F.relu, "elu": lambda x: F.elu(x) + 1.0, "identity": lambda x: x}


class DeltaNet(DeltaLayer):
    """S_t = (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T.

    hidden_size (or d_model): D. expand_k, expand_v: widths of keys and values as
    parts of D, over num_heads heads. qk_activation: silu, relu, elu (plus one) or
    identity; qk_norm: l2, or sum (to one). use_beta: whether beta is learned, else
    one; allow_neg_eigval doubles it. forward takes [B, T, D] and returns (o
    [B, T, D], None, the cache).
    """

    def __init__(
        self,
        mode: str = "chunk",
        d_model: int | None = None,
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        num_heads: int = 4,
        use_beta: bool = True,
        use_gate: bool = False,
        use_short_conv: bool = True,
        conv_size: int = 4,
        conv_bias: bool = False,
        allow_neg_eigval: bool = False,
        layer_idx: int | None = None,
        qk_activation: str = "silu",
        qk_norm: str = "l2",
        norm_eps: float = 1e-5,
        **kwargs,
    ):
        super().__init__()
        if mode == "fused_chunk":
            raise NotImplementedError("fused_chunk_delta_rule is deprecated. Please use `chunk_delta_rule` instead.")
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        assert qk_activation in _ACTIVATIONS, f"Not supported qk_activation `{qk_activation}`."
        assert qk_norm in ("l2", "sum"), f"Not supported qk_norm `{qk_norm}`."
        hidden_size = hidden_size if d_model is None else d_model
        self.mode, self.layer_idx = mode, layer_idx
        set_grouped_sizes(self, hidden_size, expand_k, expand_v, num_heads)
        self.qk_activation, self.qk_norm = qk_activation, qk_norm
        self.use_beta, self.use_gate, self.allow_neg_eigval = use_beta, use_gate, allow_neg_eigval

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_beta:
            self.b_proj = nn.Linear(hidden_size, num_heads, bias=False)
        self.make_convolutions(use_short_conv, conv_size, conv_bias, v=self.value_dim)
        self.make_output(use_gate, norm_eps)

    def make_convolutions(self, use_short_conv: bool, conv_size: int, conv_bias: bool, **widths: int) -> None:
        if use_short_conv:      # those of q and k end in silu only where that is their activation
            for name in ("q_conv1d", "k_conv1d"):
                setattr(self, name, ShortConvolution(self.key_dim, conv_size, bias=conv_bias,
                                                     activation="silu" if self.qk_activation == "silu" else None))
        super().make_convolutions(use_short_conv, conv_size, conv_bias, **widths)

    def project(self, call: Call) -> list[torch.Tensor]:
        q, k, v = call.project("q", "k", "v")
        activated = self.use_short_conv and self.qk_activation == "silu"
        q, k = (heads(x, self.head_k_dim) if activated else _ACTIVATIONS[self.qk_activation](heads(x, self.head_k_dim))
                for x in (q, k))
        if self.qk_norm == "sum":
            q, k = (x / x.sum(-1, keepdim=True) for x in (q, k))
        return [q, k, heads(v if self.use_short_conv else F.silu(v), self.head_v_dim)]

    def short(self, call: Call) -> bool:
        return self.mode == "fused_recurrent" or call.tokens <= 64

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, k, v = self.project(call)
        beta = self.b_proj(call.x).sigmoid() if self.use_beta else torch.ones_like(q[..., 0])
        if self.allow_neg_eigval:
            beta = beta * 2.0
        rule = fused_recurrent_delta_rule if self.short(call) else chunk_delta_rule
        o, state = rule(q=q, k=k, v=v, beta=beta, use_qk_l2norm_in_kernel=self.qk_norm == "l2", **call.options)
        call.save(state)
        return call.unpack(self.o_proj(self.output(o, call.x))), None, past_key_values
