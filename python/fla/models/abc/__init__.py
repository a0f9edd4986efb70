"""ABC models."""

from fla.models.abc.configuration_abc import ABCConfig
from fla.models.abc.modeling_abc import ABCForCausalLM, ABCModel
from fla.models.registration import register

register(ABCConfig, ABCModel, ABCForCausalLM)

__all__ = ["ABCConfig", "ABCForCausalLM", "ABCModel"]
