"""HGRN2: gated linear recurrence with a matrix state. Z. Qin et al., arXiv:2404.07904 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.modules import RMSNorm, ShortConvolution
from fla.modules.activations import swish
from fla.modules.layernorm import rms_norm_linear
from fla.ops.gla import chunk_gla, fused_chunk_gla, fused_recurrent_gla

from ._call import Call, heads, merge
from .hgrn import bounded_log_gate

__all__ = ["HGRN2Attention"]


class HGRN2Attention(nn.Module):
    """S_t = Diag(f_t) S_{t-1} + (1 - f_t) i_t^T, o_t = S_t^T q_t.

    expand_ratio: state rows a head; num_heads = hidden_size // expand_ratio where
    it is given. forward takes [B, T, D] and lower_bound [H * expand_ratio] of f,
    which the first layer ignores, and returns (o [B, T, D], None, the cache).
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
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        layer_idx: int | None = None,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent", "fused_chunk"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx, self.hidden_size = mode, layer_idx, hidden_size
        if expand_ratio is None and num_heads is None:
            raise RuntimeError("One of `expand_ratio` or `num_heads` should be provided.")
        if expand_ratio is not None:
            num_heads = hidden_size // expand_ratio
        else:
            expand_ratio = hidden_size // num_heads
        self.num_heads, self.expand_ratio = num_heads, expand_ratio
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias
        self.forget_dim, self.input_dim = int(num_heads * expand_ratio), hidden_size
        assert self.input_dim % num_heads == 0, f"input dim must be divisible by num_heads of {num_heads}"
        self.head_f_dim, self.head_i_dim = expand_ratio, hidden_size // num_heads

        self.q_proj = nn.Linear(hidden_size, self.forget_dim, bias=False)
        self.f_proj = nn.Linear(hidden_size, self.forget_dim, bias=False)
        self.i_proj = nn.Linear(hidden_size, self.input_dim, bias=False)
        if use_short_conv:
            self.q_conv1d = ShortConvolution(self.forget_dim, conv_size, bias=conv_bias, activation=None)
            self.f_conv1d = ShortConvolution(self.forget_dim, conv_size, bias=conv_bias, activation=None)
            self.i_conv1d = ShortConvolution(self.input_dim, conv_size, bias=conv_bias, activation=None)
        self.g_norm = RMSNorm(hidden_size=hidden_size, elementwise_affine=elementwise_affine, eps=norm_eps,
                              dtype=torch.float32)
        self.o_proj = nn.Linear(self.input_dim, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False,
                lower_bound: torch.Tensor | None = None, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        q, f, i = call.project("q", "f", "i")
        g = bounded_log_gate(f, lower_bound if self.layer_idx else None)
        k = (1 - g.exp()).to(i.dtype)
        q, k, g = heads(swish(q), self.head_f_dim), heads(k, self.head_f_dim), heads(g, self.head_f_dim)
        v = heads(i, self.head_i_dim)
        if call.tokens <= 64 or self.mode == "fused_recurrent":
            o, state = fused_recurrent_gla(q=q, k=k, v=v, gk=g, **call.options)
        elif self.mode == "chunk" or call.cu_seqlens is not None:    # fused_chunk takes no packed sequences
            o, state = chunk_gla(q=q, k=k, v=v, g=g, **call.options)
        else:
            o, state = fused_chunk_gla(q=q, k=k, v=v, g=g, initial_state=call.recurrent_state,
                                       output_final_state=call.keep)
        call.save(state)
        # The norm's own eps, not norm_eps: published checkpoints were trained so.
        o = rms_norm_linear(merge(o), self.g_norm.weight, self.g_norm.bias, self.o_proj.weight, self.o_proj.bias)
        return call.unpack(o), None, past_key_values
