"""ABC models."""

from fla._registration import register
from fla.models.abc.configuration_abc import ABCConfig
from fla.models.abc.modeling_abc import ABCForCausalLM, ABCModel

register(ABCConfig, ABCModel, ABCForCausalLM)

__all__ = ["ABCConfig", "ABCForCausalLM", "ABCModel"]
