"""RWKV-7 (Goose). B. Peng et al., arXiv:2503.14456 (2025)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules import GroupNorm
from fla.modules.l2norm import l2_norm
from fla.ops.rwkv7 import chunk_rwkv7, fused_mul_recurrent_rwkv7
from fla.ops.rwkv7.fused_addcmul import fused_addcmul_rwkv7
from fla.ops.rwkv7.fused_k_update import fused_k_rwkv7
from fla.ops.rwkv7.gate_output_correction import gate_output_correction

from ._call import Call, heads, merge
from ._gates import fresh
from .rwkv6 import LoRA, previous_difference

__all__ = ["RWKV7Attention", "LoRA"]

_SLOWEST_DECAY = -0.6065306597126334      # -e^{-1/2}: the log decay is this times a sigmoid


def _rank(given: int | None, factor: float, hidden_size: int) -> int:
    """A rank: what is given, or factor * sqrt(D) in multiples of 32."""
    return given if given is not None else max(32, int(round(factor * hidden_size ** 0.5 / 32) * 32))


class RWKV7Attention(nn.Module):
    """S_t = S_{t-1} (Diag(w_t) - k^_t (a_t * k^_t)^T) + v_t k_t^T: a delta rule with decay and rate for each channel.

    hidden_size: D, over heads of head_dim, or num_heads heads. *_low_rank_dim:
    ranks of the maps that give decay, gate, rate and value mix. num_hidden_layers:
    of the model, for initial values. Layers after the first mix their values
    with v_first, those of the first layer. forward takes [B, T, D] and returns
    (o [B, T, D], None, the cache, v_first [B, T, V]).
    """

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        head_dim: int | None = 64,
        num_heads: int | None = None,
        decay_low_rank_dim: int | None = None,
        gate_low_rank_dim: int | None = None,
        a_low_rank_dim: int | None = None,
        v_low_rank_dim: int | None = None,
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        layer_idx: int | None = None,
        fuse_norm: bool = False,
        value_dim: int | None = None,
        num_hidden_layers: int | None = None,
        **kwargs,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        if head_dim is None and num_heads is None:
            raise ValueError("Either `head_dim` or `num_heads` must be specified.")
        self.mode, self.layer_idx, self.num_hidden_layers = mode, layer_idx, num_hidden_layers
        self.hidden_size = self.key_dim = hidden_size
        self.value_dim = hidden_size if value_dim is None else value_dim
        self.head_dim = hidden_size // num_heads if head_dim is None else head_dim
        self.num_heads = hidden_size // self.head_dim
        self.head_v_dim = self.value_dim // self.num_heads
        width = self.head_dim / 64
        self.decay_low_rank_dim = _rank(decay_low_rank_dim, 2.5 * width, hidden_size)
        self.gate_low_rank_dim = _rank(gate_low_rank_dim, 5, hidden_size)
        self.a_low_rank_dim = _rank(a_low_rank_dim, 2.5 * width, hidden_size)
        self.v_low_rank_dim = _rank(v_low_rank_dim, 1.7 * width, hidden_size)
        self.fuse_norm = fuse_norm

        self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
        for name in ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g"):
            setattr(self, name, nn.Parameter(torch.zeros(1, 1, hidden_size)))
        self.k_k, self.k_a = nn.Parameter(torch.zeros(self.key_dim)), nn.Parameter(torch.zeros(self.key_dim))
        self.r_k = nn.Parameter(torch.zeros(self.num_heads, self.head_dim))
        self.r_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.v_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)
        self.w_lora = LoRA(hidden_size, self.key_dim, low_rank_dim=self.decay_low_rank_dim, activation="tanh")
        if layer_idx != 0:
            self.v_lora = LoRA(hidden_size, self.value_dim, low_rank_dim=self.v_low_rank_dim, activation=None)
        self.a_lora = LoRA(hidden_size, self.key_dim, low_rank_dim=self.a_low_rank_dim, activation=None)
        self.g_lora = LoRA(hidden_size, self.value_dim, low_rank_dim=self.gate_low_rank_dim, activation="sigmoid",
                           bias=False)
        eps = self.head_dim * norm_eps
        if fuse_norm:
            self.g_norm = GroupNorm(num_groups=self.num_heads, hidden_size=self.value_dim,
                                    elementwise_affine=elementwise_affine, eps=eps, bias=True)
        else:
            self.g_norm = nn.GroupNorm(num_groups=self.num_heads, num_channels=self.value_dim, eps=eps,
                                       affine=elementwise_affine)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values by depth and channel, as in section D of the paper's appendix; needs num_hidden_layers."""
        if self.layer_idx is None or self.num_hidden_layers is None:
            return
        depth = self.layer_idx / max(1, self.num_hidden_layers - 1)
        rest = 1.0 - self.layer_idx / self.num_hidden_layers
        channel = torch.arange(self.hidden_size, dtype=torch.float32)
        part, unit = channel / self.hidden_size, channel / max(1, self.hidden_size - 1)
        linear = unit - 0.5
        half = max(1.0, (self.head_dim - 1) / 2)
        zigzag = (channel % self.head_dim - (self.head_dim - 1) / 2) / half
        zigzag = zigzag * zigzag.abs()
        for name, power in (("x_r", 0.2), ("x_w", 0.9), ("x_k", 0.7), ("x_v", 0.7), ("x_a", 0.9), ("x_g", 0.2)):
            fresh(getattr(self, name), 1.0 - part ** (power * rest))
        fresh(self.k_k, 0.71 - linear * 0.1)
        fresh(self.k_a, 1.02)
        fresh(self.r_k, -0.04)
        self.w_lora.set_bias_value(-6 + 6 * unit ** (1 + depth ** 0.3) + 0.5 + zigzag * 2.5)
        self.a_lora.set_bias_value(-0.19 + zigzag * 0.3 + linear * 0.4)
        if self.layer_idx != 0 and self.value_dim == self.hidden_size:
            self.v_lora.set_bias_value(0.73 - linear * 0.4)
        fresh(self.g_norm.weight, ((self.layer_idx + 1) / self.num_hidden_layers) ** 0.7)
        for linear_map, gain in ((self.r_proj, 1.0), (self.k_proj, 0.1), (self.v_proj, 1.0)):
            weight = linear_map.weight
            fresh(weight, lambda shape=weight.shape, gain=gain: nn.init.orthogonal_(torch.empty(shape), gain=gain))
        fresh(self.o_proj.weight, 0.0)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """Reads the first version's x_x [6, D] as the six mixing weights."""
        together = state_dict.pop(f"{prefix}x_x", None)
        if together is not None:
            for name, row in zip(("x_r", "x_w", "x_k", "x_v", "x_a", "x_g"), together):
                state_dict[prefix + name] = row.reshape(1, 1, -1)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _values(self, x: torch.Tensor, call: Call, v_first: torch.Tensor | None):
        """(values, v_first as rows) of mixed tokens x."""
        v = self.v_proj(x)
        if self.layer_idx == 0 or v_first is None:
            return v, call.unpack(v)
        return torch.lerp(v, call.pack(v_first), self.v_lora(x).sigmoid()), v_first

    def _attend(self, call: Call, r, w, k, v, kk, a):
        if not self.training and call.tokens < 64:
            return fused_mul_recurrent_rwkv7(r=r, w=w, k=k, v=v, kk=kk, a=a, scale=1.0, **call.options)
        return chunk_rwkv7(r=r, w=w, k=k, v=v, a=-kk, b=kk * a, scale=1.0, **call.options)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False,
                v_first: torch.Tensor | None = None, cu_seqlens: torch.Tensor | None = None, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, cu_seqlens)
        delta, last = previous_difference(call.x, call, call.state.get("conv_state"))
        xr, xw, xk, xv, xa, xg = fused_addcmul_rwkv7(call.x, delta, self.x_r, self.x_w, self.x_k, self.x_v, self.x_a,
                                                     self.x_g)
        r, k = self.r_proj(xr), self.k_proj(xk)
        w = _SLOWEST_DECAY * self.w_lora(xw).sigmoid()
        v, v_first = self._values(xv, call, v_first)
        a, g = self.a_lora(xa).sigmoid(), self.g_lora(xg)
        kk = heads(k * self.k_k, self.head_dim)
        kk = l2_norm(kk) if self.fuse_norm else F.normalize(kk, dim=-1, p=2.0)
        k = fused_k_rwkv7(k, a, self.k_a)
        r, w, k, a = (heads(x, self.head_dim) for x in (r, w, k, a))
        v = heads(v, self.head_v_dim)
        o, state = self._attend(call, r, w, k, v, kk, a)
        call.save(state, conv_state=last)
        o = merge(o)
        o = self.g_norm(o) if self.fuse_norm else self.g_norm(o.flatten(0, 1)).view(o.shape)
        o = gate_output_correction(o, r, k, self.r_k, v, g)
        return call.unpack(self.o_proj(o)), None, past_key_values, v_first
