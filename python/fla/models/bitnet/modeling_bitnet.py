"""BitNet: a decoder of `BitAttention` and gated feed-forwards."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.layers.bitattn import BitAttention
from fla.models.bitnet.configuration_bitnet import BitNetConfig
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.utils import FLAGenerationMixin
from fla.modules.activations import swiglu

__all__ = ["BitNetBlock", "BitNetMLP", "BitNetPreTrainedModel", "BitNetModel", "BitNetForCausalLM"]


class BitNetMLP(nn.Module):
    """down_proj(silu(gate_proj(x)) * up_proj(x)), of hidden_size * hidden_ratio * 2 / 3 in multiples of 256."""

    def __init__(self, hidden_size: int, hidden_ratio: int | None = None, intermediate_size: int | None = None,
                 hidden_act: str = "swish", fuse_swiglu: bool = True):
        super().__init__()
        if hidden_act != "swish":
            raise ValueError(f"Unsupported hidden_act: {hidden_act}")
        self.hidden_size, self.hidden_act, self.fuse_swiglu = hidden_size, hidden_act, fuse_swiglu
        self.hidden_ratio = 4 if hidden_ratio is None else hidden_ratio
        if intermediate_size is None:
            intermediate_size = -(-int(hidden_size * self.hidden_ratio * 2 / 3) // 256) * 256
        self.intermediate_size = intermediate_size
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: torch.Tensor, **kwargs) -> torch.Tensor:
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))


class BitNetBlock(Block):
    mixer, renamed = BitAttention, {}

    def make_mlp(self, config) -> nn.Module:
        return BitNetMLP(config.hidden_size, config.hidden_ratio, config.intermediate_size, config.hidden_act,
                         config.fuse_swiglu)


class BitNetPreTrainedModel(FLAPreTrainedModel):
    config_class, block = BitNetConfig, BitNetBlock


class BitNetModel(Decoder, BitNetPreTrainedModel):
    """The decoder: hidden states of tokens."""


class BitNetForCausalLM(CausalLM, BitNetPreTrainedModel, FLAGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = BitNetModel
