"""The configuration of Gated DeltaProduct models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["GatedDeltaProductConfig"]


class GatedDeltaProductConfig(FLAConfig):
    """Sizes and choices of a Gated DeltaProduct model; see the layer `fla.layers.GatedDeltaProduct`."""

    model_type = "gated_deltaproduct"
    defaults = dict(
        attn_mode="chunk", conv_size=4, head_dim=256, num_heads=6, hidden_size=2048, expand_v=2.0,
        use_output_gate=True, use_short_conv=True, max_position_embeddings=2048, hidden_ratio=4,
        intermediate_size=None, hidden_act="swish", num_hidden_layers=21, norm_eps=1e-6, attn=None, **COMMON,
        use_forget_gate=False, allow_neg_eigval=False, num_householder=1,
    )
