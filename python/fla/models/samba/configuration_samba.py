"""The configuration of Samba models."""

from __future__ import annotations

import math

from fla.models.configuration import FLAConfig

__all__ = ["SambaConfig"]


class SambaConfig(FLAConfig):
    """Sizes and choices of Samba models; see the layer `fla.layers.Mamba`."""

    model_type = "samba"
    defaults = dict(
        hidden_size=2304, state_size=16, num_hidden_layers=18, norm_eps=1e-5, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, expand=2, conv_kernel=4, use_bias=False, use_conv_bias=True, hidden_act="swish",
        initializer_range=0.02, residual_in_fp32=False, time_step_rank="auto", time_step_scale=1.0,
        time_step_min=0.001, time_step_max=0.1, time_step_init_scheme="random", time_step_floor=1e-4,
        max_position_embeddings=2048,
        attn={"layers": (1, 3, 5, 7, 9, 11, 13, 15, 17), "num_heads": 18, "num_kv_heads": 18, "qkv_bias": False,
              "window_size": 2048, "rope_theta": 10000.0},
        hidden_ratio=4, rescale_prenorm_residual=False, use_cache=True, fuse_norm=True, fuse_swiglu=True,
        fuse_cross_entropy=True, fuse_linear_cross_entropy=False, use_l2warp=False, vocab_size=32000,
        tie_word_embeddings=False, attnres_block_size=None,
    )

    def hybrid_default(self, attn, given: bool):
        if given or attn is None:
            return attn
        return {**attn, "layers": [i for i in attn["layers"] if i < self.num_hidden_layers]}

    def settle(self) -> None:
        self.intermediate_size = int(self.expand * self.hidden_size)      # of Mamba, not of the feed-forward
        if self.time_step_rank == "auto":
            self.time_step_rank = math.ceil(self.hidden_size / 16)
