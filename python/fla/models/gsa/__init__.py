"""Gated slot attention models."""

from fla.models.gsa.configuration_gsa import GSAConfig
from fla.models.gsa.modeling_gsa import GSAForCausalLM, GSAModel
from fla.models.registration import register

register(GSAConfig, GSAModel, GSAForCausalLM)

__all__ = ["GSAConfig", "GSAForCausalLM", "GSAModel"]
