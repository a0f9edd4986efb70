"""Samba models."""

from fla.models.samba.configuration_samba import SambaConfig
from fla.models.samba.modeling_samba import SambaForCausalLM, SambaModel
from fla.models.registration import register

register(SambaConfig, SambaModel, SambaForCausalLM)

__all__ = ["SambaConfig", "SambaForCausalLM", "SambaModel"]
