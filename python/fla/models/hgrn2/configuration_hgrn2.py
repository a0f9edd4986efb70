"""The configuration of HGRN2 models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["HGRN2Config"]


class HGRN2Config(FLAConfig):
    """Sizes and choices of HGRN2 models; see the layer `fla.layers.HGRN2Attention`."""

    model_type = "hgrn2"
    defaults = dict(
        hidden_size=2048, num_hidden_layers=24, attn_mode="chunk", num_heads=None, expand_ratio=128,
        use_short_conv=False, conv_size=4, use_lower_bound=True, hidden_ratio=4, intermediate_size=None,
        hidden_act="swish", max_position_embeddings=2048, elementwise_affine=True, norm_eps=1e-6, attn=None, **COMMON,
    )

    def settle(self) -> None:
        if self.expand_ratio is None and self.num_heads is None:
            raise RuntimeError("One of `expand_ratio` or `num_heads` should be provided.")
        if self.expand_ratio is None:
            self.expand_ratio = self.hidden_size // self.num_heads
        elif self.num_heads is None:
            self.num_heads = self.hidden_size // self.expand_ratio
