"""The configuration of gated slot attention models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["GSAConfig"]


class GSAConfig(FLAConfig):
    """Sizes and choices of a gated slot attention model; see the layer `fla.layers.GatedSlotAttention`."""

    model_type = "gsa"
    defaults = dict(
        hidden_size=2048, gate_logit_normalizer=8, clamp_min=None, clamp_max=None, hidden_ratio=4,
        intermediate_size=None, num_hidden_layers=24, num_heads=4, num_kv_heads=None, num_slots=64,
        use_short_conv=False, conv_size=4, exapnd_k=1, exapnd_v=1, feature_map="swish", use_output_gate=False,
        use_norm=True, max_position_embeddings=2048, hidden_act="swish", elementwise_affine=True, norm_eps=1e-6,
        attn=None, **COMMON,
    )

    def settle(self) -> None:      # the misspelt keys are those of published configurations
        self.expand_k, self.expand_v = self.exapnd_k, self.exapnd_v
