"""Kimi delta attention models."""

from fla.models.kda.configuration_kda import KDAConfig
from fla.models.kda.modeling_kda import KDAForCausalLM, KDAModel
from fla.models.registration import register

register(KDAConfig, KDAModel, KDAForCausalLM)

__all__ = ["KDAConfig", "KDAForCausalLM", "KDAModel"]
