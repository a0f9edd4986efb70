"""HGRN models."""

from fla.models.hgrn.configuration_hgrn import HGRNConfig
from fla.models.hgrn.modeling_hgrn import HGRNForCausalLM, HGRNModel
from fla.models.registration import register

register(HGRNConfig, HGRNModel, HGRNForCausalLM)

__all__ = ["HGRNConfig", "HGRNForCausalLM", "HGRNModel"]
