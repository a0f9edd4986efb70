"""The configuration of Rodimus models."""

from __future__ import annotations

from fla.models.configuration import FLAConfig

__all__ = ["RodimusConfig"]


class RodimusConfig(FLAConfig):
    """Sizes and choices of Rodimus models; see the layer `fla.layers.RodimusAttention`."""

    model_type = "rodimus"
    defaults = dict(
        block_type="rodimus_plus", hidden_size=2048, num_hidden_layers=24, attn_mode="chunk", residual_in_fp32=True,
        block_residual_in_fp32=False, expand_ratio=64, input_gate_low_rank="auto", use_short_conv=True, conv_size=4,
        hidden_ratio=4 / 3, intermediate_size=None, hidden_act="swish", max_position_embeddings=2048, norm_eps=1e-5,
        k_norm_eps=None, attn=None, ska_attn=None, use_cache=True, pad_token_id=None, bos_token_id=126080,
        eos_token_id=126081, tie_word_embeddings=True, initializer_range=0.02, fuse_norm=True, fuse_swiglu=True,
        fuse_cross_entropy=True, fuse_linear_cross_entropy=False, use_l2warp=False, vocab_size=126464,
    )

    def settle(self) -> None:
        """ska_attn: num_heads, qkv_bias, qk_norm, window_size and rope_theta of the shared-key attention."""
        if self.block_type not in ("rodimus", "rodimus_plus"):
            raise NotImplementedError(f"block_type: expected rodimus or rodimus_plus, got {self.block_type!r}")
        if self.ska_attn is None:
            return
        if not isinstance(self.ska_attn, dict):
            raise ValueError(f"ska_attn must be a dictionary, got {type(self.ska_attn).__name__}")
        if "num_heads" not in self.ska_attn:
            raise ValueError("Number of heads must be provided to initialize shared-key attention layers")
        self.ska_attn = {"qkv_bias": False, "qk_norm": False, "window_size": 1024, "rope_theta": 10000.0,
                         **self.ska_attn}
