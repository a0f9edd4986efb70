"""Kimi delta attention: a decoder of `KimiDeltaAttention` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.kda import KimiDeltaAttention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.kda.configuration_kda import KDAConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["KDABlock", "KDAPreTrainedModel", "KDAModel", "KDAForCausalLM"]


class KDABlock(Block):
    mixer, renamed = KimiDeltaAttention, dict(mode="attn_mode")


class KDAPreTrainedModel(FLAPreTrainedModel):
    config_class, block = KDAConfig, KDABlock


class KDAModel(Decoder, KDAPreTrainedModel):
    """The decoder: hidden states of tokens."""


class KDAForCausalLM(CausalLM, KDAPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = KDAModel
