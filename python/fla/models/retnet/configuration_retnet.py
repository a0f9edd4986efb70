"""The configuration of RetNet models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["RetNetConfig"]


class RetNetConfig(FLAConfig):
    """Sizes and choices of a RetNet model; see the layer `fla.layers.MultiScaleRetention`."""

    model_type = "retnet"
    defaults = dict(
        attn_mode="chunk", hidden_size=2048, expand_k=1.0, expand_v=2.0, hidden_ratio=2, intermediate_size=None,
        num_hidden_layers=24, num_heads=8, num_kv_heads=None, feature_map=None, hidden_act="swish",
        use_short_conv=False, conv_size=4, use_output_gate=True, max_position_embeddings=2048,
        elementwise_affine=True, norm_eps=1e-6, attn=None, **COMMON,
    )
