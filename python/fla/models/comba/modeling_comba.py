"""Comba: a decoder of `Comba` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.comba import Comba
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.comba.configuration_comba import CombaConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["CombaBlock", "CombaPreTrainedModel", "CombaModel", "CombaForCausalLM"]


class CombaBlock(Block):
    mixer, renamed = Comba, dict(mode="attn_mode")


class CombaPreTrainedModel(FLAPreTrainedModel):
    config_class, block = CombaConfig, CombaBlock


class CombaModel(Decoder, CombaPreTrainedModel):
    """The decoder: hidden states of tokens."""


class CombaForCausalLM(CausalLM, CombaPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = CombaModel
