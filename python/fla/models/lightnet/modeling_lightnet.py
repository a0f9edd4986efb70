"""LightNet: a decoder of `LightNetAttention` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.lightnet import LightNetAttention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.lightnet.configuration_lightnet import LightNetConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["LightNetBlock", "LightNetPreTrainedModel", "LightNetModel", "LightNetForCausalLM"]


class LightNetBlock(Block):
    mixer, renamed = LightNetAttention, dict(mode="attn_mode")


class LightNetPreTrainedModel(FLAPreTrainedModel):
    config_class, block = LightNetConfig, LightNetBlock


class LightNetModel(Decoder, LightNetPreTrainedModel):
    """The decoder: hidden states of tokens."""


class LightNetForCausalLM(CausalLM, LightNetPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = LightNetModel
