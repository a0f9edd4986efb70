"""Modules that models are made of besides the operators: norms, convolutions, gates, embeddings and losses.

Everything is PyTorch and runs on any of its devices, under ``torch.compile(fullgraph=True)`` too.
"""

from .convolution import ImplicitLongConvolution, LongConvolution, ShortConvolution
from .fused_bitlinear import BitLinear, FusedBitLinear
from .fused_cross_entropy import FusedCrossEntropyLoss
from .fused_kl_div import FusedKLDivLoss
from .fused_linear_cross_entropy import FusedLinearCrossEntropyLoss
from .fused_norm_gate import (
    FusedLayerNormGated,
    FusedLayerNormSwishGate,
    FusedLayerNormSwishGateLinear,
    FusedRMSNormGated,
    FusedRMSNormSwishGate,
    FusedRMSNormSwishGateLinear,
)
from .l2norm import L2Norm
from .layernorm import GroupNorm, GroupNormLinear, LayerNorm, LayerNormLinear, RMSNorm, RMSNormLinear
from .mlp import GatedMLP
from .rotary import RotaryEmbedding
from .token_shift import TokenShift

__all__ = [
    "BitLinear",
    "FusedBitLinear",
    "FusedCrossEntropyLoss",
    "FusedKLDivLoss",
    "FusedLayerNormGated",
    "FusedLayerNormSwishGate",
    "FusedLayerNormSwishGateLinear",
    "FusedLinearCrossEntropyLoss",
    "FusedRMSNormGated",
    "FusedRMSNormSwishGate",
    "FusedRMSNormSwishGateLinear",
    "GatedMLP",
    "GroupNorm",
    "GroupNormLinear",
    "ImplicitLongConvolution",
    "L2Norm",
    "LayerNorm",
    "LayerNormLinear",
    "LongConvolution",
    "RMSNorm",
    "RMSNormLinear",
    "RotaryEmbedding",
    "ShortConvolution",
    "TokenShift",
]
