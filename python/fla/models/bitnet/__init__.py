"""BitNet models."""

from fla._registration import register
from fla.models.bitnet.configuration_bitnet import BitNetConfig
from fla.models.bitnet.modeling_bitnet import BitNetForCausalLM, BitNetModel

register(BitNetConfig, BitNetModel, BitNetForCausalLM)

__all__ = ["BitNetConfig", "BitNetForCausalLM", "BitNetModel"]
