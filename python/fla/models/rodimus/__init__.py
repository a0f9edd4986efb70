"""Rodimus models."""

from fla._registration import register
from fla.models.rodimus.configuration_rodimus import RodimusConfig
from fla.models.rodimus.modeling_rodimus import RodimusForCausalLM, RodimusModel

register(RodimusConfig, RodimusModel, RodimusForCausalLM)

__all__ = ["RodimusConfig", "RodimusForCausalLM", "RodimusModel"]
