"""Gated DeltaProduct: a decoder of `GatedDeltaProduct` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.gated_deltaproduct import GatedDeltaProduct
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.gated_deltaproduct.configuration_gated_deltaproduct import GatedDeltaProductConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["GatedDeltaProductBlock", "GatedDeltaProductPreTrainedModel",
           "GatedDeltaProductModel", "GatedDeltaProductForCausalLM"]


class GatedDeltaProductBlock(Block):
    mixer, renamed = GatedDeltaProduct, dict(mode="attn_mode")


class GatedDeltaProductPreTrainedModel(FLAPreTrainedModel):
    config_class, block = GatedDeltaProductConfig, GatedDeltaProductBlock


class GatedDeltaProductModel(Decoder, GatedDeltaProductPreTrainedModel):
    """The decoder: hidden states of tokens."""


class GatedDeltaProductForCausalLM(CausalLM, GatedDeltaProductPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = GatedDeltaProductModel
