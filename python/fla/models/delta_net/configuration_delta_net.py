"""The configuration of DeltaNet models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["DeltaNetConfig"]


class DeltaNetConfig(FLAConfig):
    """Sizes and choices of a DeltaNet model; see the layer `fla.layers.DeltaNet`."""

    model_type = "delta_net"
    defaults = dict(
        attn_mode="chunk", hidden_size=2048, expand_k=1.0, expand_v=1.0, use_gate=False, use_short_conv=True,
        allow_neg_eigval=False, conv_size=4, use_beta=True, use_output_norm=True, num_heads=16, qk_norm="l2",
        qk_activation="silu", max_position_embeddings=2048, hidden_ratio=4, intermediate_size=None,
        hidden_act="swish", num_hidden_layers=24, norm_eps=1e-6, attn=None, **COMMON,
    )
