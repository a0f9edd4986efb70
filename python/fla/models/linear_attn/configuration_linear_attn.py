"""The configuration of linear attention models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["LinearAttentionConfig"]


class LinearAttentionConfig(FLAConfig):
    """Sizes and choices of a linear attention model; see the layer `fla.layers.LinearAttention`."""

    model_type = "linear_attn"
    defaults = dict(
        attn_mode="fused_chunk", hidden_size=2048, expand_k=1.0, expand_v=1.0, hidden_ratio=4, intermediate_size=None,
        num_hidden_layers=24, num_heads=4, num_kv_heads=None, feature_map="elementwise_product",
        tie_feature_map_qk=False, norm_q=False, norm_k=False, norm_feature_map=False, hidden_act="swish",
        max_position_embeddings=2048, elementwise_affine=True, norm_eps=1e-6, attn=None, **COMMON,
    )
