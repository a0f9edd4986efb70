"""Mamba: a decoder of `Mamba` mixers alone."""

from __future__ import annotations

import math

import torch
import torch.nn as nn

from fla.layers.mamba import Mamba
from fla.models.blocks import from_config
from fla.models.compat import GradientCheckpointingLayer, is_fresh
from fla.models.decoder import CausalLM, Decoder, FLAPreTrainedModel
from fla.models.mamba.configuration_mamba import MambaConfig
from fla.models.utils import FLAGenerationMixin
from fla.modules import RMSNorm

__all__ = ["MambaBlock", "MambaPreTrainedModel", "MambaModel", "MambaForCausalLM", "MixerBlock", "Backbone",
           "rescale_output"]


def rescale_output(module: nn.Module, layers: int) -> None:
    """New values for a mixer's output projection, smaller in deeper models."""
    weight = getattr(getattr(module, "out_proj", None), "weight", None)
    if is_fresh(weight):
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        weight.div_(math.sqrt(layers))


class MixerBlock(GradientCheckpointingLayer):
    """A norm and a mixer around a residual stream, which may be kept in float32."""

    mixer_kind: type
    renamed: dict = {}

    def __init__(self, config, layer_idx: int):
        super().__init__()
        self.config, self.layer_idx, self.residual_in_fp32 = config, layer_idx, config.residual_in_fp32
        self.norm = RMSNorm(config.hidden_size, eps=config.norm_eps, dtype=torch.float32)
        self.mixer = from_config(self.mixer_kind, config, layer_idx, **self.renamed)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        mixed, attentions, past_key_values = self.mixer(
            self.norm(hidden_states), attention_mask=attention_mask, past_key_values=past_key_values,
            use_cache=use_cache, output_attentions=output_attentions, **kwargs)
        if self.residual_in_fp32:
            x = (hidden_states.float() + mixed).to(self.norm.weight.dtype)
        else:
            x = hidden_states + mixed
        return x, attentions, past_key_values


class Backbone(Decoder):
    """embeddings, layers, norm_f; embeddings without a padding token."""

    final_norm = "norm_f"

    def make_embeddings(self, config) -> nn.Embedding:
        return nn.Embedding(config.vocab_size, config.hidden_size)

    def make_norm(self, config) -> nn.Module:
        return RMSNorm(config.hidden_size, eps=config.norm_eps, dtype=torch.float32)


class MambaBlock(MixerBlock):
    mixer_kind, renamed = Mamba, dict(dt_init="dt_init_scheme")


class MambaPreTrainedModel(FLAPreTrainedModel):
    config_class, block, base_model_prefix = MambaConfig, MambaBlock, "backbone"
    _no_split_modules = ["Mamba", "MambaBlock"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module, **kwargs) -> None:
        super()._init_weights(module, **kwargs)
        if self.config.rescale_prenorm_residual:
            rescale_output(module, self.config.num_hidden_layers)


class MambaModel(Backbone, MambaPreTrainedModel):
    """The decoder: hidden states of tokens."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """Reads `embedding` of the first checkpoints as `embeddings`."""
        old = state_dict.pop(f"{prefix}embedding.weight", None)
        if old is not None:
            state_dict[f"{prefix}embeddings.weight"] = old
        super()._load_from_state_dict(state_dict, prefix, *args)


class MambaForCausalLM(CausalLM, MambaPreTrainedModel, FLAGenerationMixin):
    """The decoder with a language-modelling head."""

    decoder = MambaModel
