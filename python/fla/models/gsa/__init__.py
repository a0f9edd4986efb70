"""Gated slot attention models."""

from fla._registration import register
from fla.models.gsa.configuration_gsa import GSAConfig
from fla.models.gsa.modeling_gsa import GSAForCausalLM, GSAModel

register(GSAConfig, GSAModel, GSAForCausalLM)

__all__ = ["GSAConfig", "GSAForCausalLM", "GSAModel"]
