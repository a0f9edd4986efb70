"""The configuration of RWKV-7 models."""

from __future__ import annotations

from fla.models.configuration import FLAConfig
from fla.models.rwkv6.configuration_rwkv6 import RWKV

__all__ = ["RWKV7Config"]


class RWKV7Config(FLAConfig):
    """Sizes and choices of RWKV-7 models; see the layer `fla.layers.RWKV7Attention`."""

    model_type = "rwkv7"
    defaults = dict(
        attn_mode="chunk", hidden_size=2048, hidden_ratio=4, intermediate_size=None, num_hidden_layers=24, head_dim=64,
        num_heads=None, decay_low_rank_dim=64, gate_low_rank_dim=128, a_low_rank_dim=64, v_low_rank_dim=16,
        hidden_act="sqrelu", max_position_embeddings=2048, norm_first=True, norm_bias=True, norm_eps=1e-5, attn=None,
        **{**RWKV, "use_l2warp": True}, value_dim=None,
    )

    def settle(self) -> None:
        """value_dim: the width of values, one for all layers or a list of one a layer."""
        if self.head_dim is None and self.num_heads is not None:
            self.head_dim = self.hidden_size // self.num_heads
        elif self.head_dim is not None and self.num_heads is None:
            self.num_heads = self.hidden_size // self.head_dim
        widths = self.hidden_size if self.value_dim is None else self.value_dim
        widths = [widths] * self.num_hidden_layers if isinstance(widths, int) else list(widths)
        assert len(widths) == self.num_hidden_layers, (
            f"value_dim must have one width a layer, {self.num_hidden_layers}; got {len(widths)}")
        for width in widths:
            assert width >= self.hidden_size and width % self.hidden_size == 0, (
                f"value_dim must be a multiple of hidden_size={self.hidden_size}; got {width}")
        self.value_dim = widths
