"""DeltaNet models."""

from fla.models.delta_net.configuration_delta_net import DeltaNetConfig
from fla.models.delta_net.modeling_delta_net import DeltaNetForCausalLM, DeltaNetModel
from fla.models.registration import register

register(DeltaNetConfig, DeltaNetModel, DeltaNetForCausalLM)

__all__ = ["DeltaNetConfig", "DeltaNetForCausalLM", "DeltaNetModel"]
