"""The configuration of MoM models."""

from __future__ import annotations

from fla.models.configuration import FLAConfig

__all__ = ["MomConfig"]


class MomConfig(FLAConfig):
    """Sizes and choices of MoM models; see the layer `fla.layers.MomAttention`."""

    model_type = "mom"
    defaults = dict(
        attn_mode="chunk", hidden_size=2048, conv_size=4, num_heads=4, head_dim=256, expand_v=1.0,
        use_output_gate=True, use_short_conv=True, max_position_embeddings=2048, hidden_ratio=4,
        intermediate_size=None, hidden_act="swish", num_hidden_layers=24, norm_eps=1e-6, attn=None, use_cache=True,
        pad_token_id=None, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, initializer_range=0.02,
        num_memories=4, topk=2, capacity=1.0, use_layer_wise_balance=True, aux_loss_scale=0.01, shared_mem=True,
        single_kv_proj=False, mom_backend="gated_deltanet", fuse_norm=True, fuse_swiglu=True, fuse_cross_entropy=True,
        vocab_size=32000, attnres_block_size=None,
    )

    def settle(self) -> None:
        if self.mom_backend != "gated_deltanet":
            raise NotImplementedError(f"The MoM backend {self.mom_backend} is not currently supported.")
