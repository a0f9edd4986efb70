"""The configuration of Mamba models."""

from __future__ import annotations

import math

from fla.models.configuration import FLAConfig

__all__ = ["MambaConfig", "OLD_NAMES", "rename"]

# time_step_X of configurations until 2025 is dt_Y now.
OLD_NAMES = {"rank": "rank", "scale": "scale", "min": "min", "max": "max", "init_scheme": "init_scheme",
             "floor": "init_floor"}


def rename(values: dict, others: dict, explicit: frozenset, names: dict[str, str]) -> tuple[dict, dict]:
    """Keys under their new names; one that is given under both keeps the new name's value."""
    for old, new in names.items():
        if old in others:
            value = others.pop(old)
            if new not in explicit:
                values[new] = value
    return values, others


class MambaConfig(FLAConfig):
    """Sizes and choices of Mamba models; see the layer `fla.layers.Mamba`."""

    model_type = "mamba"
    attribute_map = {f"time_step_{old}": f"dt_{new}" for old, new in OLD_NAMES.items()}
    defaults = dict(
        vocab_size=32000, hidden_size=2048, state_size=16, num_hidden_layers=48, norm_eps=1e-5, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, expand=2, conv_kernel=4, use_bias=False, use_conv_bias=True,
        hidden_act="silu", initializer_range=0.02, residual_in_fp32=False, dt_rank="auto", dt_scale=1.0, dt_min=0.001,
        dt_max=0.1, dt_init_scheme="random", dt_init_floor=1e-4, rescale_prenorm_residual=False, use_cache=True,
        fuse_norm=True, fuse_cross_entropy=True, fuse_linear_cross_entropy=False, use_l2warp=False,
        tie_word_embeddings=False,
    )

    def rename(self, values: dict, others: dict, explicit: frozenset) -> tuple[dict, dict]:
        return rename(values, others, explicit, self.attribute_map)

    def settle(self) -> None:
        self.intermediate_size = int(self.expand * self.hidden_size)
        if self.dt_rank == "auto":
            self.dt_rank = math.ceil(self.hidden_size / 16)
