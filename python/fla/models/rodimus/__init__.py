"""Rodimus models."""

from fla.models.rodimus.configuration_rodimus import RodimusConfig
from fla.models.rodimus.modeling_rodimus import RodimusForCausalLM, RodimusModel
from fla.models.registration import register

register(RodimusConfig, RodimusModel, RodimusForCausalLM)

__all__ = ["RodimusConfig", "RodimusForCausalLM", "RodimusModel"]
