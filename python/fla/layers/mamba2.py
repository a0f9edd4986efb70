"""Mamba-2. T. Dao, A. Gu, arXiv:2405.21060 (2024)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.modules.activations import ACT2FN
from fla.modules.layernorm_gated import RMSNormGated
from fla.ops.simple_gla import chunk_simple_gla, fused_recurrent_simple_gla

from ._call import Call, heads, merge, repeat_heads
from ._gates import fresh, step_bias
from .mamba import _BACKENDS, convolve

__all__ = ["Mamba2"]


class Mamba2(nn.Module):
    """S_t = e^{dt_t A} S_{t-1} + B_t (dt_t x_t)^T, y_t = S_t^T C_t + D x_t, with A and dt scalars of a head.

    hidden_size: D; expand * D = num_heads * head_dim. n_groups: groups of heads
    that share B and C. rmsnorm: a gated norm of the output, the gate first unless
    norm_before_gate. D_has_hdim: D for each channel. dt_limit: bounds of the
    steps. backend: cuda or triton, accepted and without effect. forward takes
    [B, T, D] and returns (o [B, T, D], None, the cache); the state is
    [N, H, state_size, head_dim].
    """

    def __init__(
        self,
        num_heads: int | None = None,
        head_dim: int = 64,
        hidden_size: int = 2048,
        state_size: int = 128,
        expand: int = 2,
        n_groups: int = 1,
        conv_kernel: int = 4,
        conv_init: float | None = None,
        use_conv_bias: bool = True,
        hidden_act: str = "silu",
        A_init_range: tuple[float, float] = (1, 16),
        D_has_hdim: bool = False,
        rmsnorm: bool = True,
        norm_before_gate: bool = False,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init_floor: float = 1e-4,
        dt_limit: tuple[float, float] = (0.0, float("inf")),
        use_bias: bool = False,
        norm_eps: float = 1e-5,
        chunk_size: int = 256,
        layer_idx: int | None = None,
        backend: str = "cuda",
    ):
        super().__init__()
        assert backend in _BACKENDS, f"Unsupported backend: {backend}"
        self.hidden_size, self.head_dim, self.ssm_state_size, self.expand = hidden_size, head_dim, state_size, expand
        self.intermediate_size = int(expand * hidden_size)
        if self.intermediate_size % head_dim != 0:
            raise ValueError(f"`expand * hidden_size` ({self.intermediate_size}) must be divisible by "
                             f"`head_dim` ({head_dim}).")
        self.num_heads = self.intermediate_size // head_dim if num_heads is None else num_heads
        if self.num_heads * head_dim != self.intermediate_size:
            raise ValueError(f"`num_heads * head_dim` ({self.num_heads * head_dim}) must equal "
                             f"`expand * hidden_size` ({self.intermediate_size}).")
        if self.num_heads % n_groups != 0:
            raise ValueError(f"`num_heads` ({self.num_heads}) must be divisible by `n_groups` ({n_groups}).")
        self.n_groups, self.conv_kernel_size, self.conv_init = n_groups, conv_kernel, conv_init
        self.use_conv_bias, self.use_bias = use_conv_bias, use_bias
        self.activation, self.act = hidden_act, ACT2FN[hidden_act]
        self.A_init_range, self.D_has_hdim = A_init_range, D_has_hdim
        self.rmsnorm, self.norm_before_gate, self.norm_eps = rmsnorm, norm_before_gate, norm_eps
        self.dt_min, self.dt_max, self.dt_init_floor = dt_min, dt_max, dt_init_floor
        self.dt_limit, self.chunk_size = tuple(float(x) for x in dt_limit), chunk_size
        self.layer_idx, self.backend = layer_idx, backend

        self.conv_dim = self.intermediate_size + 2 * n_groups * state_size
        self.conv1d = nn.Conv1d(self.conv_dim, self.conv_dim, conv_kernel, groups=self.conv_dim,
                                padding=conv_kernel - 1, bias=use_conv_bias)
        self.in_proj = nn.Linear(hidden_size, self.intermediate_size + self.conv_dim + self.num_heads, bias=use_bias)
        self.dt_bias = nn.Parameter(torch.empty(self.num_heads))
        self.A_log = nn.Parameter(torch.empty(self.num_heads, dtype=torch.float32))
        self.D = nn.Parameter(torch.empty(self.intermediate_size if D_has_hdim else self.num_heads))
        for parameter in (self.dt_bias, self.A_log, self.D):
            parameter._no_weight_decay = True
        if rmsnorm:
            self.norm = RMSNormGated(self.intermediate_size, eps=norm_eps, norm_before_gate=norm_before_gate,
                                     group_size=self.intermediate_size // n_groups)
        self.out_proj = nn.Linear(self.intermediate_size, hidden_size, bias=use_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        fresh(self.dt_bias, lambda: step_bias(self.num_heads, self.dt_min, self.dt_max, self.dt_init_floor))
        fresh(self.A_log, lambda: torch.empty(self.num_heads).uniform_(*self.A_init_range).log())
        fresh(self.D, 1.0)
        if self.conv_init is not None:
            weight = self.conv1d.weight
            fresh(weight, lambda: torch.empty(weight.shape).uniform_(-self.conv_init, self.conv_init))

    def _scan(self, x, B, C, dt, call: Call):
        """The recurrence on heads x [..., H, P] with B and C of groups, and D x."""
        shared = self.num_heads // self.n_groups
        B, C = (repeat_heads(heads(y, self.ssm_state_size), shared) for y in (B, C))
        dt = F.softplus(dt.float() + self.dt_bias.float()).clamp(*self.dt_limit)
        x = heads(x, self.head_dim)
        attention = fused_recurrent_simple_gla if call.tokens <= 64 else chunk_simple_gla
        y, state = attention(q=C, k=B, v=(x * dt.unsqueeze(-1)).to(x.dtype), g=-self.A_log.float().exp() * dt,
                             scale=1.0, **call.options)
        D = self.D.view(self.num_heads, -1)          # [H, 1], or [H, P]
        return merge(y + D * x), state

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        projected = self.in_proj(call.x)
        gate, xBC, dt = projected.split([self.intermediate_size, self.conv_dim, self.num_heads], dim=-1)
        shared = self.n_groups * self.ssm_state_size
        x, B, C = convolve(self.conv1d, self.activation, xBC, call).split([self.intermediate_size, shared, shared],
                                                                        dim=-1)
        y, state = self._scan(x, B, C, dt, call)
        call.save(state)
        y = self.norm(y, gate) if self.rmsnorm else y * self.act(gate)
        return call.unpack(self.out_proj(y.to(projected.dtype))), None, past_key_values
