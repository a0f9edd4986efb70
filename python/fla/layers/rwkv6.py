"""RWKV-6 (Finch). B. Peng et al., arXiv:2404.05892 (2024)."""

from __future__ import annotations

import math

import torch
import torch.nn as nn

from fla.modules import GroupNorm
from fla.modules.activations import ACT2FN
from fla.modules.token_shift import token_shift
from fla.ops.rwkv6 import chunk_rwkv6, fused_recurrent_rwkv6

from ._call import Call, heads, merge
from ._gates import fresh

__all__ = ["RWKV6Attention", "LoRA", "LerpLinear", "DDLerpLinear", "previous_difference", "xavier"]

_ACTIVATIONS = {None: nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


def previous_difference(x: torch.Tensor, call: Call, cache: torch.Tensor | None):
    """(x_{t-1} - x_t, the last token for the next call) of packed or plain tokens."""
    if not call.keep:
        return token_shift(x, call.cu_seqlens), None
    return token_shift(x, call.cu_seqlens, cache=cache, output_cache=True)


def xavier(weight: torch.Tensor):
    """Xavier-uniform values of small gain, for `fresh`."""
    return lambda: nn.init.xavier_uniform_(torch.empty(weight.shape), gain=2 ** -2.5)


class LoRA(nn.Module):
    """A map of low rank: lora.2(activation(lora.0(x))), from input_dim to output_dim through low_rank_dim."""

    def __init__(self, input_dim: int, output_dim: int, low_rank_dim: int, bias: bool | None = True,
                 activation: str | None = "tanh"):
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ValueError(f"Not supported activation `{activation}`.")
        self.input_dim, self.output_dim, self.low_rank_dim, self.bias = input_dim, output_dim, low_rank_dim, bias
        self.lora = nn.Sequential(nn.Linear(input_dim, low_rank_dim, bias=False), _ACTIVATIONS[activation](),
                                  nn.Linear(low_rank_dim, output_dim, bias=bias))
        self.reset_parameters()

    @property
    def activation(self) -> nn.Module:
        return self.lora[1]

    def __repr__(self) -> str:
        bias = "" if self.bias else f", bias={self.bias}"
        return (f"LoRA(input_dim={self.input_dim}, low_rank_dim={self.low_rank_dim}, "
                f"output_dim={self.output_dim}{bias})")

    def reset_parameters(self) -> None:
        wide = self.lora[2].weight
        gain = 0.1 * max(1.0, math.sqrt(wide.shape[1] / wide.shape[0]))
        fresh(self.lora[0].weight, 0.0)
        fresh(wide, lambda: nn.init.orthogonal_(torch.empty(wide.shape), gain=gain))
        fresh(self.lora[2].bias, 0.0)

    def set_bias_value(self, value) -> None:
        """Writes the bias: a number, or a tensor [output_dim]."""
        fresh(self.lora[2].bias, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lora(x)


class _Lerp(nn.Module):
    """A linear map, or a LoRA, of a token mixed with the one before it."""

    def __init__(self, input_dim: int, output_dim: int, low_rank_dim: int | None = None):
        super().__init__()
        self.input_dim, self.output_dim, self.low_rank_dim = input_dim, output_dim, low_rank_dim
        self.linear = (nn.Linear(input_dim, output_dim, bias=False) if low_rank_dim is None
                       else LoRA(input_dim, output_dim, low_rank_dim))

    def __repr__(self) -> str:
        rank = "" if self.low_rank_dim is None else f", low_rank_dim={self.low_rank_dim}"
        return f"{type(self).__name__}({self.input_dim}, {self.output_dim}{rank})"


class LerpLinear(_Lerp):
    """linear(x + mu * delta) with a learned mu [input_dim]; delta = x_{t-1} - x_t."""

    def __init__(self, input_dim: int, output_dim: int, low_rank_dim: int | None = None):
        super().__init__(input_dim, output_dim, low_rank_dim)
        self.mu = nn.Parameter(torch.zeros(input_dim))

    def forward(self, x: torch.Tensor, delta: torch.Tensor | None = None,
                cu_seqlens: torch.Tensor | None = None) -> torch.Tensor:
        delta = token_shift(x, cu_seqlens) if delta is None else delta
        return self.linear(x + delta * self.mu)


class DDLerpLinear(_Lerp):
    """linear(x + mu * delta) with a mu that depends on the data, [..., input_dim]."""

    def forward(self, x: torch.Tensor, mu: torch.Tensor, delta: torch.Tensor | None = None,
                cu_seqlens: torch.Tensor | None = None) -> torch.Tensor:
        delta = token_shift(x, cu_seqlens) if delta is None else delta
        return self.linear(x + delta * mu)


class RWKV6Attention(nn.Module):
    """o_t = r_t^T (S_{t-1} + Diag(bonus) k_t v_t^T); S_t = Diag(e^{-e^{w_t}}) S_{t-1} + k_t v_t^T.

    r, w, k, v and the gate come from the token mixed with the one before it, by
    weights that depend on the data. hidden_size: D; expand_k, expand_v: widths of
    keys and values as parts of D, over num_heads heads. forward takes [B, T, D]
    and returns (o [B, T, D], None, the cache).
    """

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 0.5,
        expand_v: float = 1.0,
        num_heads: int = 4,
        gate_fn: str = "swish",
        proj_low_rank_dim: int = 32,
        gate_low_rank_dim: int = 64,
        fuse_norm: bool = True,
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        layer_idx: int | None = None,
        **kwargs,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        self.mode, self.layer_idx, self.hidden_size, self.num_heads = mode, layer_idx, hidden_size, num_heads
        self.expand_k, self.expand_v = expand_k, expand_v
        self.proj_low_rank_dim, self.gate_low_rank_dim = proj_low_rank_dim, gate_low_rank_dim
        self.key_dim, self.value_dim = int(hidden_size * expand_k), int(hidden_size * expand_v)
        assert self.key_dim % num_heads == 0, f"key dim must be divisible by num_heads of {num_heads}"
        assert self.value_dim % num_heads == 0, f"value dim must be divisible by num_heads of {num_heads}"
        self.head_k_dim, self.head_v_dim = self.key_dim // num_heads, self.value_dim // num_heads

        self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
        self.x_proj = nn.Sequential(LerpLinear(hidden_size, proj_low_rank_dim * 5), nn.Tanh(),
                                    nn.Linear(proj_low_rank_dim * 5, hidden_size, bias=False))
        self.x_bias = nn.Parameter(torch.zeros(5, hidden_size))
        self.r_proj = DDLerpLinear(hidden_size, self.key_dim)
        self.w_proj = DDLerpLinear(hidden_size, self.key_dim, low_rank_dim=gate_low_rank_dim)
        self.k_proj = DDLerpLinear(hidden_size, self.key_dim)
        self.v_proj = DDLerpLinear(hidden_size, self.value_dim)
        self.g_proj = DDLerpLinear(hidden_size, self.value_dim)
        self.bonus = nn.Parameter(torch.zeros(num_heads, self.head_k_dim))
        self.g_norm = GroupNorm(num_heads, self.value_dim, elementwise_affine=elementwise_affine, bias=True,
                                eps=norm_eps)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)
        self.gate_fn = ACT2FN[gate_fn]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for projection in (self.x_proj[0], self.r_proj, self.k_proj, self.v_proj, self.g_proj):
            fresh(projection.linear.weight, xavier(projection.linear.weight))
        for linear in (self.x_proj[2], self.o_proj):
            fresh(linear.weight, xavier(linear.weight))
        for parameter in (self.x_bias, self.bonus, self.x_proj[0].mu):
            fresh(parameter, 0.0)

    def _mixes(self, x: torch.Tensor, delta: torch.Tensor):
        """Five mixing weights of each token, [..., D] each, for r, w, k, v and the gate."""
        low = self.x_proj[1](self.x_proj[0](x, delta)).unflatten(-1, (5, self.proj_low_rank_dim))
        wide = self.x_proj[2].weight.view(self.hidden_size, 5, -1)
        return (torch.einsum("btnr,hnr->btnh", low, wide) + self.x_bias).unbind(-2)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False,
                cu_seqlens: torch.Tensor | None = None, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, cu_seqlens)
        x = call.x
        delta, last = previous_difference(x, call, call.state.get("conv_state"))
        r, w, k, v, g = (projection(x, mix, delta) for projection, mix in zip(
            (self.r_proj, self.w_proj, self.k_proj, self.v_proj, self.g_proj), self._mixes(x, delta)))
        r, w, k = (heads(y, self.head_k_dim) for y in (r, w, k))
        short = call.tokens <= 64 or self.mode == "fused_recurrent"
        attention = fused_recurrent_rwkv6 if short else chunk_rwkv6
        o, state = attention(r=r, k=k, v=heads(v, self.head_v_dim), w=-torch.exp(w), u=self.bonus, scale=1.0,
                             **call.options)
        call.save(state, conv_state=last)
        o = self.g_norm(merge(o)) * self.gate_fn(g)
        return call.unpack(self.o_proj(o)), None, past_key_values
