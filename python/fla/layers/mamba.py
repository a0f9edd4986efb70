"""Mamba. A. Gu, T. Dao, arXiv:2312.00752 (2023)."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from fla.lang import load
from fla.modules.activations import ACT2FN
from fla.modules.convolution import causal_conv1d

from ._call import Call
from ._gates import fresh, step_bias

__all__ = ["Mamba", "convolve"]

MAMBA = load("mamba")

_BACKENDS = ("cuda", "triton")      # names of the original, accepted; there is one implementation


def convolve(conv1d: nn.Conv1d, activation: str, x: torch.Tensor, call: Call) -> torch.Tensor:
    """A causal depthwise convolution of tokens that continues where the last call ended; call.conv_state is its end."""
    fused = activation in ("silu", "swish")
    x, call.conv_state = causal_conv1d(
        x=x, weight=conv1d.weight.squeeze(1), bias=conv1d.bias, activation=activation if fused else None,
        initial_state=call.state.get("conv_state"), output_final_state=call.keep, cu_seqlens=call.cu_seqlens)
    return x if fused else ACT2FN[activation](x)


class Mamba(nn.Module):
    """h_t = e^{delta_t A} h_{t-1} + delta_t B_t u_t, y_t = C_t h_t + D u_t, elementwise in intermediate_size channels.

    hidden_size: D. state_size: of each channel. dt_rank: rank of the map that
    gives the steps, D / 16 where auto; dt_min to dt_max: their range at first.
    backend: cuda or triton, accepted and without effect. forward takes [B, T, D]
    and returns (o [B, T, D], None, the cache); the state is [N, 1, channels, state_size].
    """

    def __init__(
        self,
        hidden_size: int = 2048,
        state_size: int = 16,
        conv_kernel: int = 4,
        use_conv_bias: bool = True,
        intermediate_size: int = 2048,
        dt_rank: int | str = "auto",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        dt_init: str = "random",
        dt_scale: float = 1.0,
        dt_init_floor: float = 1e-4,
        use_bias: bool = False,
        hidden_act: str = "silu",
        layer_idx: int | None = None,
        backend: str = "cuda",
        time_step_rank: int | str | None = None,
    ):
        super().__init__()
        if dt_init not in ("constant", "random"):
            raise NotImplementedError(f"Mamba: expected dt_init constant or random, got {dt_init}")
        assert backend in _BACKENDS, f"Unsupported backend: {backend}"
        dt_rank = dt_rank if time_step_rank is None else time_step_rank
        self.hidden_size, self.ssm_state_size, self.intermediate_size = hidden_size, state_size, intermediate_size
        self.conv_kernel_size, self.use_conv_bias, self.use_bias = conv_kernel, use_conv_bias, use_bias
        self.dt_rank = math.ceil(hidden_size / 16) if dt_rank == "auto" else dt_rank
        self.dt_min, self.dt_max, self.dt_init_floor = dt_min, dt_max, dt_init_floor
        self.dt_init, self.dt_scale = dt_init, dt_scale
        self.activation, self.act = hidden_act, ACT2FN[hidden_act]
        self.layer_idx, self.backend = layer_idx, backend

        self.conv1d = nn.Conv1d(intermediate_size, intermediate_size, conv_kernel, groups=intermediate_size,
                                padding=conv_kernel - 1, bias=use_conv_bias)
        self.in_proj = nn.Linear(hidden_size, intermediate_size * 2, bias=use_bias)
        self.x_proj = nn.Linear(intermediate_size, self.dt_rank + state_size * 2, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, intermediate_size, bias=True)
        self.A_log = nn.Parameter(torch.empty(intermediate_size, state_size, dtype=torch.float32))
        self.D = nn.Parameter(torch.empty(intermediate_size))
        self.A_log._no_weight_decay = self.D._no_weight_decay = True
        self.out_proj = nn.Linear(intermediate_size, hidden_size, bias=use_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial values of section 3.6 of the paper: A = -1, -2, ..., steps log-uniform, D = 1."""
        fresh(self.A_log, torch.arange(1, self.ssm_state_size + 1).float().log().expand(self.A_log.shape))
        fresh(self.D, 1.0)
        size, weight = self.dt_rank ** -0.5 * self.dt_scale, self.dt_proj.weight
        fresh(weight, size if self.dt_init == "constant"
              else lambda: torch.empty(weight.shape).uniform_(-size, size))
        fresh(self.dt_proj.bias, lambda: step_bias(self.intermediate_size, self.dt_min, self.dt_max,
                                                   self.dt_init_floor))
        self.dt_proj.bias._no_reinit = True

    def _scan(self, u: torch.Tensor, call: Call):
        step, B, C = self.x_proj(u).split([self.dt_rank, self.ssm_state_size, self.ssm_state_size], dim=-1)
        delta = F.softplus(F.linear(step, self.dt_proj.weight).float() + self.dt_proj.bias.float())
        # The recurrence has one head: [B, T, 1, channels].
        y, state = MAMBA(u.unsqueeze(2), delta.unsqueeze(2), -self.A_log.float().exp().unsqueeze(0),
                         B.unsqueeze(2), C.unsqueeze(2), self.D.float().unsqueeze(0), **call.options)
        return y.squeeze(2), state

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        x, gate = self.in_proj(call.x).chunk(2, dim=-1)
        y, state = self._scan(convolve(self.conv1d, self.activation, x, call), call)
        call.save(state)
        return call.unpack(self.out_proj((y * self.act(gate)).to(x.dtype))), None, past_key_values
