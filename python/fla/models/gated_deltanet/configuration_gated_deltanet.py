"""The configuration of Gated DeltaNet models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["GatedDeltaNetConfig"]


class GatedDeltaNetConfig(FLAConfig):
    """Sizes and choices of a Gated DeltaNet model; see the layer `fla.layers.GatedDeltaNet`."""

    model_type = "gated_deltanet"
    defaults = dict(
        attn_mode="chunk", hidden_size=2048, expand_v=2.0, use_gate=True, use_short_conv=True, allow_neg_eigval=False,
        conv_size=4, head_dim=256, num_heads=6, num_v_heads=None, max_position_embeddings=2048, hidden_ratio=4,
        intermediate_size=None, hidden_act="swish", num_hidden_layers=21, norm_eps=1e-6, attn=None, **COMMON,
    )
