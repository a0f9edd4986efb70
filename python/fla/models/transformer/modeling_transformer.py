"""A transformer with rotary positions: a decoder of `Attention` and gated feed-forwards."""

from __future__ import annotations

from fla.layers.attn import Attention
from fla.models.blocks import Block
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.transformer.configuration_transformer import TransformerConfig
from fla.models.utils import FLAUnsupportedCacheGenerationMixin

__all__ = ["TransformerBlock", "TransformerPreTrainedModel", "TransformerModel", "TransformerForCausalLM"]


class TransformerBlock(Block):
    mixer = Attention


class TransformerPreTrainedModel(FLAPreTrainedModel):
    config_class, block = TransformerConfig, TransformerBlock


class TransformerModel(Decoder, TransformerPreTrainedModel):
    """The decoder: hidden states of tokens."""


class TransformerForCausalLM(CausalLM, TransformerPreTrainedModel, FLAUnsupportedCacheGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = TransformerModel
