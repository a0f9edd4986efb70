"""Mamba-2: a decoder of `Mamba2` mixers alone."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.layers.mamba2 import Mamba2
from fla.models.decoder import CausalLM, FLAPreTrainedModel
from fla.models.mamba.modeling_mamba import Backbone, MixerBlock, rescale_output
from fla.models.mamba2.configuration_mamba2 import Mamba2Config
from fla.models.utils import FLAGenerationMixin

__all__ = ["Mamba2Block", "Mamba2PreTrainedModel", "Mamba2Model", "Mamba2ForCausalLM"]


class Mamba2Block(MixerBlock):
    mixer_kind = Mamba2


class Mamba2PreTrainedModel(FLAPreTrainedModel):
    config_class, block, base_model_prefix = Mamba2Config, Mamba2Block, "backbone"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module, **kwargs) -> None:
        super()._init_weights(module, **kwargs)
        if self.config.rescale_prenorm_residual:
            rescale_output(module, self.config.num_hidden_layers)


class Mamba2Model(Backbone, Mamba2PreTrainedModel):
    """The decoder: hidden states of tokens."""


class Mamba2ForCausalLM(CausalLM, Mamba2PreTrainedModel, FLAGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = Mamba2Model
