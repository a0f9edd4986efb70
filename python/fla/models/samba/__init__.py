"""Samba models."""

from fla._registration import register
from fla.models.samba.configuration_samba import SambaConfig
from fla.models.samba.modeling_samba import SambaForCausalLM, SambaModel

register(SambaConfig, SambaModel, SambaForCausalLM)

__all__ = ["SambaConfig", "SambaForCausalLM", "SambaModel"]
