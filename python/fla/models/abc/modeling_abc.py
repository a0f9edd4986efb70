"""ABC: a decoder of `ABCAttention` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.abc import ABCAttention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.abc.configuration_abc import ABCConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["ABCBlock", "ABCPreTrainedModel", "ABCModel", "ABCForCausalLM"]


class ABCBlock(Block):
    mixer = ABCAttention


class ABCPreTrainedModel(FLAPreTrainedModel):
    config_class, block = ABCConfig, ABCBlock


class ABCModel(Decoder, ABCPreTrainedModel):
    """The decoder: hidden states of tokens."""


class ABCForCausalLM(CausalLM, ABCPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = ABCModel
