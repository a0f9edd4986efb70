"""The configuration of a transformer with rotary positions models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["TransformerConfig"]


class TransformerConfig(FLAConfig):
    """Sizes and choices of a a transformer with rotary positions model; see the layer `fla.layers.Attention`."""

    model_type = "transformer"
    defaults = dict(
        hidden_size=2048, num_hidden_layers=24, num_heads=32, num_kv_heads=None, qkv_bias=False, qk_norm=False,
        window_size=None, rope_theta=10000.0, max_position_embeddings=2048, hidden_ratio=4, intermediate_size=None,
        hidden_act="swish", elementwise_affine=True, norm_eps=1e-6, **COMMON,
    )
