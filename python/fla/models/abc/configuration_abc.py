"""The configuration of ABC models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["ABCConfig"]


class ABCConfig(FLAConfig):
    """Sizes and choices of a ABC model; see the layer `fla.layers.ABCAttention`."""

    model_type = "abc"
    defaults = dict(
        hidden_size=2048, gate_low_rank_dim=16, clamp_min=-32, clamp_max=32, hidden_ratio=4, intermediate_size=None,
        num_hidden_layers=24, num_heads=4, num_slots=64, use_short_conv=False, conv_size=4, exapnd_k=0.5, exapnd_v=1,
        hidden_act="swish", max_position_embeddings=2048, elementwise_affine=True, norm_eps=1e-6, use_rope=True,
        attn=None, **COMMON,
    )

    def settle(self) -> None:      # the misspelt keys are those of published configurations
        self.expand_k, self.expand_v = self.exapnd_k, self.exapnd_v
