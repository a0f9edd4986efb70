"""Gated DeltaNet: a decoder of `GatedDeltaNet` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.gated_deltanet import GatedDeltaNet
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.gated_deltanet.configuration_gated_deltanet import GatedDeltaNetConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["GatedDeltaNetBlock", "GatedDeltaNetPreTrainedModel", "GatedDeltaNetModel", "GatedDeltaNetForCausalLM"]


class GatedDeltaNetBlock(Block):
    mixer, renamed = GatedDeltaNet, dict(mode="attn_mode")


class GatedDeltaNetPreTrainedModel(FLAPreTrainedModel):
    config_class, block = GatedDeltaNetConfig, GatedDeltaNetBlock


class GatedDeltaNetModel(Decoder, GatedDeltaNetPreTrainedModel):
    """The decoder: hidden states of tokens."""


class GatedDeltaNetForCausalLM(CausalLM, GatedDeltaNetPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = GatedDeltaNetModel
