"""The configuration of BitNet models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["BitNetConfig"]


class BitNetConfig(FLAConfig):
    """Sizes and choices of BitNet models; see the layer `fla.layers.BitAttention`."""

    model_type = "bitnet"
    defaults = dict(
        hidden_size=2048, num_hidden_layers=24, num_heads=32, num_kv_heads=None, window_size=None, rope_theta=10000.0,
        max_position_embeddings=2048, hidden_ratio=4, intermediate_size=None, hidden_act="swish",
        elementwise_affine=True, norm_eps=1e-6, **COMMON,
    )
