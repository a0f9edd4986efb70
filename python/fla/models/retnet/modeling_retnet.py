"""RetNet: a decoder of `MultiScaleRetention` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.multiscale_retention import MultiScaleRetention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.retnet.configuration_retnet import RetNetConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["RetNetBlock", "RetNetPreTrainedModel", "RetNetModel", "RetNetForCausalLM"]


class RetNetBlock(Block):
    mixer, renamed = MultiScaleRetention, dict(mode="attn_mode", gate_fn="hidden_act")


class RetNetPreTrainedModel(FLAPreTrainedModel):
    config_class, block = RetNetConfig, RetNetBlock


class RetNetModel(Decoder, RetNetPreTrainedModel):
    """The decoder: hidden states of tokens."""


class RetNetForCausalLM(CausalLM, RetNetPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = RetNetModel
