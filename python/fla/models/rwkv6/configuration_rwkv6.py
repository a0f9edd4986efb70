"""The configuration of RWKV-6 models."""

from __future__ import annotations

from fla.models.configuration import COMMON, FLAConfig

__all__ = ["RWKV6Config", "RWKV"]

# The common keys without those of gated feed-forwards.
RWKV = {name: value for name, value in COMMON.items() if name not in ("fuse_swiglu", "attnres_block_size")}


class RWKV6Config(FLAConfig):
    """Sizes and choices of RWKV-6 models; see the layer `fla.layers.RWKV6Attention`."""

    model_type = "rwkv6"
    defaults = dict(
        attn_mode="chunk", hidden_size=2048, expand_k=0.5, expand_v=1.0, hidden_ratio=3.5, intermediate_size=None,
        num_hidden_layers=24, num_heads=4, proj_low_rank_dim=32, gate_low_rank_dim=64, hidden_act="sqrelu",
        max_position_embeddings=2048, norm_first=True, norm_bias=True, norm_eps=1e-5, attn=None, **RWKV,
    )
