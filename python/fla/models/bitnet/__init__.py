"""BitNet models."""

from fla.models.bitnet.configuration_bitnet import BitNetConfig
from fla.models.bitnet.modeling_bitnet import BitNetForCausalLM, BitNetModel
from fla.models.registration import register

register(BitNetConfig, BitNetModel, BitNetForCausalLM)

__all__ = ["BitNetConfig", "BitNetForCausalLM", "BitNetModel"]
