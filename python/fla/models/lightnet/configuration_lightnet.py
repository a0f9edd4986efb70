"""The configuration of LightNet models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["LightNetConfig"]


class LightNetConfig(FLAConfig):
    """Sizes and choices of a LightNet model; see the layer `fla.layers.LightNetAttention`."""

    model_type = "lightnet"
    defaults = dict(
        hidden_size=2048, num_hidden_layers=24, attn_mode="chunk", num_heads=None, expand_ratio=128,
        use_short_conv=False, conv_size=4, hidden_ratio=4, intermediate_size=None, hidden_act="swish",
        max_position_embeddings=2048, gate_low_rank_dim=128, elementwise_affine=True, norm_eps=1e-6, attn=None,
        **COMMON,
    )
