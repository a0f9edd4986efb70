"""Mamba-2 models."""

from fla._registration import register
from fla.models.mamba2.configuration_mamba2 import Mamba2Config
from fla.models.mamba2.modeling_mamba2 import Mamba2ForCausalLM, Mamba2Model

register(Mamba2Config, Mamba2Model, Mamba2ForCausalLM)

__all__ = ["Mamba2Config", "Mamba2ForCausalLM", "Mamba2Model"]
