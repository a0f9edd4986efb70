"""The configuration of GLA models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["GLAConfig"]


class GLAConfig(FLAConfig):
    """Sizes and choices of a GLA model; see the layer `fla.layers.GatedLinearAttention`."""

    model_type = "gla"
    defaults = dict(
        hidden_size=2048, expand_k=0.5, expand_v=1.0, hidden_ratio=4, intermediate_size=None, num_hidden_layers=24,
        num_heads=4, num_kv_heads=None, feature_map=None, attn_mode="chunk", use_short_conv=False, conv_size=4,
        use_output_gate=True, clamp_min=None, hidden_act="swish", max_position_embeddings=2048,
        elementwise_affine=True, norm_eps=1e-6, use_gk=True, use_gv=False, attn=None, **COMMON,
    )
