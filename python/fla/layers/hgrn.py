"""HGRN: a gated linear recurrence, elementwise. Z. Qin et al., arXiv:2311.04823 (2023)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import FusedRMSNormGated, ShortConvolution
from fla.modules.activations import swiglu
from fla.ops.hgrn import chunk_hgrn, fused_recurrent_hgrn

from ._call import Call

__all__ = ["HGRNAttention", "bounded_log_gate"]


def bounded_log_gate(f: torch.Tensor, lower_bound: torch.Tensor | None) -> torch.Tensor:
    """log(b + (1 - b) sigmoid(f)) for a lower bound b in [0, 1); log sigmoid(f) without one."""
    f = F.logsigmoid(f)
    if lower_bound is None:
        return f
    return torch.logaddexp(lower_bound.log(), torch.log1p(-lower_bound) + f)


class HGRNAttention(nn.Module):
    """h_t = f_t * h_{t-1} + (1 - f_t) * silu(i_t), with gates that a model bounds from below, more in higher layers.

    hidden_size: D; the recurrence is expand_ratio * D wide. forward takes
    [B, T, D] and lower_bound [expand_ratio * D], which the first layer ignores,
    and returns (o [B, T, D], None, the cache).
    """

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_ratio: int | None = 1,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        layer_idx: int | None = None,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx = mode, layer_idx
        self.hidden_size, self.expand_ratio = hidden_size, expand_ratio
        self.input_dim = int(hidden_size * expand_ratio)
        self.use_short_conv, self.conv_size, self.conv_bias = use_short_conv, conv_size, conv_bias

        self.i_proj = nn.Linear(hidden_size, self.input_dim, bias=False)
        self.f_proj = nn.Linear(hidden_size, self.input_dim, bias=False)
        self.g_proj = nn.Linear(hidden_size, self.input_dim, bias=False)
        if use_short_conv:
            self.f_conv1d = ShortConvolution(self.input_dim, conv_size, bias=conv_bias, activation=None)
            self.i_conv1d = ShortConvolution(self.input_dim, conv_size, bias=conv_bias, activation=None)
        self.g_norm = FusedRMSNormGated(hidden_size=self.input_dim, elementwise_affine=elementwise_affine,
                                        eps=norm_eps)
        self.o_proj = nn.Linear(self.input_dim, hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False,
                lower_bound: torch.Tensor | None = None, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        i, f = call.project("i", "f")
        f = bounded_log_gate(f, lower_bound if self.layer_idx else None).to(f.dtype)
        x = swiglu(i, 1 - f.exp())
        short = self.mode == "fused_recurrent" or (call.tokens <= 64 and not self.training)
        if short or call.cu_seqlens is not None:      # chunk_hgrn takes no packed sequences
            o, state = fused_recurrent_hgrn(x=x, g=f, **call.options)
        else:
            o, state = chunk_hgrn(x=x, g=f, initial_state=call.recurrent_state, output_final_state=call.keep)
        call.save(state)
        return call.unpack(self.o_proj(self.g_norm(o, self.g_proj(call.x)))), None, past_key_values

    def state_size(self, **kwargs) -> int:
        """Numbers that the layer keeps for each sequence."""
        convolutions = [m for m in self.children() if isinstance(m, ShortConvolution)]
        return self.input_dim + sum(m.state_size for m in convolutions)
