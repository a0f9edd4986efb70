"""HGRN: a decoder of `HGRNAttention` and gated feed-forwards, with forget gates bounded from below by depth."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.layers.hgrn import HGRNAttention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.hgrn.configuration_hgrn import HGRNConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["HGRNBlock", "HGRNPreTrainedModel", "HGRNModel", "HGRNForCausalLM", "LowerBounds"]


class LowerBounds(Decoder):
    """A decoder whose layers get a learned lower bound of their gates, larger in higher layers."""

    def make_parameters(self, config) -> None:
        if config.use_lower_bound:
            self.lower_bounds = nn.Parameter(torch.zeros(config.num_hidden_layers, config.hidden_size))

    def begin(self, hidden_states: torch.Tensor) -> dict:
        if not self.config.use_lower_bound:
            return {}
        shares = self.lower_bounds.softmax(0, dtype=torch.float)
        return {"bounds": shares.cumsum(0) - shares[0]}

    def layer_arguments(self, carried: dict, layer_idx: int) -> dict:
        return {"lower_bound": carried["bounds"][layer_idx] if carried else None}


class HGRNBlock(Block):
    mixer, renamed = HGRNAttention, dict(mode="attn_mode")


class HGRNPreTrainedModel(FLAPreTrainedModel):
    config_class, block = HGRNConfig, HGRNBlock


class HGRNModel(LowerBounds, HGRNPreTrainedModel):
    """The decoder: hidden states of tokens."""


class HGRNForCausalLM(CausalLM, HGRNPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = HGRNModel
