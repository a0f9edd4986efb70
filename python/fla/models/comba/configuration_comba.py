"""The configuration of Comba models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["CombaConfig"]


class CombaConfig(FLAConfig):
    """Sizes and choices of a Comba model; see the layer `fla.layers.Comba`."""

    model_type = "comba"
    defaults = dict(
        attn_mode="chunk", hidden_size=2048, conv_size=4, head_dim=256, num_heads=6, num_v_heads=None, expand_v=2.0,
        use_output_gate=True, use_short_conv=True, use_output_correction=True, use_inner_decay=True,
        correction_factor=1.0, max_position_embeddings=2048, hidden_ratio=4, intermediate_size=None,
        hidden_act="swish", num_hidden_layers=21, norm_eps=1e-6, attn=None, **COMMON,
    )
