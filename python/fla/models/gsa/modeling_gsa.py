"""Gated slot attention: a decoder of `GatedSlotAttention` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.gsa import GatedSlotAttention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.gsa.configuration_gsa import GSAConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["GSABlock", "GSAPreTrainedModel", "GSAModel", "GSAForCausalLM"]


class GSABlock(Block):
    mixer = GatedSlotAttention


class GSAPreTrainedModel(FLAPreTrainedModel):
    config_class, block = GSAConfig, GSABlock


class GSAModel(Decoder, GSAPreTrainedModel):
    """The decoder: hidden states of tokens."""


class GSAForCausalLM(CausalLM, GSAPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = GSAModel
