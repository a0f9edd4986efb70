"""DeltaNet: a decoder of `DeltaNet` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.delta_net import DeltaNet
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.delta_net.configuration_delta_net import DeltaNetConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["DeltaNetBlock", "DeltaNetPreTrainedModel", "DeltaNetModel", "DeltaNetForCausalLM"]


class DeltaNetBlock(Block):
    mixer, renamed = DeltaNet, dict(mode="attn_mode")


class DeltaNetPreTrainedModel(FLAPreTrainedModel):
    config_class, block = DeltaNetConfig, DeltaNetBlock


class DeltaNetModel(Decoder, DeltaNetPreTrainedModel):
    """The decoder: hidden states of tokens."""


class DeltaNetForCausalLM(CausalLM, DeltaNetPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = DeltaNetModel
