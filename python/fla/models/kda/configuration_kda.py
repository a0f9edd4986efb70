"""The configuration of Kimi delta attention models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["KDAConfig"]


class KDAConfig(FLAConfig):
    """Sizes and choices of a Kimi delta attention model; see the layer `fla.layers.KimiDeltaAttention`."""

    model_type = "kda"
    defaults = dict(
        attn_mode="chunk", hidden_size=2048, expand_v=1.0, use_short_conv=True, allow_neg_eigval=False, safe_gate=False,
        lower_bound=None, conv_size=4, head_dim=128, num_heads=16, num_v_heads=None, max_position_embeddings=2048,
        hidden_ratio=4, intermediate_size=None, hidden_act="swish", num_hidden_layers=24, norm_eps=1e-6, attn=None,
        **COMMON,
    )

    def settle(self) -> None:
        if self.safe_gate and self.lower_bound is None:
            raise ValueError("`lower_bound` must be specified when `safe_gate=True` (recommended: -5).")
