"""RetNet models."""

from fla.models.retnet.configuration_retnet import RetNetConfig
from fla.models.retnet.modeling_retnet import RetNetForCausalLM, RetNetModel
from fla.models.registration import register

register(RetNetConfig, RetNetModel, RetNetForCausalLM)

__all__ = ["RetNetConfig", "RetNetForCausalLM", "RetNetModel"]
