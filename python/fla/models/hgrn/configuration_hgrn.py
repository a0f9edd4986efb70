"""The configuration of HGRN models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["HGRNConfig"]


class HGRNConfig(FLAConfig):
    """Sizes and choices of HGRN models; see the layer `fla.layers.HGRNAttention`."""

    model_type = "hgrn"
    defaults = dict(
        attn_mode="fused_recurrent", hidden_size=2048, num_hidden_layers=24, expand_ratio=1, use_short_conv=False,
        conv_size=4, use_lower_bound=True, max_position_embeddings=2048, hidden_ratio=4, intermediate_size=None,
        hidden_act="swish", elementwise_affine=True, norm_eps=1e-6, attn=None, **COMMON,
    )
