"""The configuration of Mamba-2 models."""

from __future__ import annotations

from fla.models.configuration import FLAConfig
from fla.models.mamba.configuration_mamba import rename

__all__ = ["Mamba2Config"]


class Mamba2Config(FLAConfig):
    """Sizes and choices of Mamba-2 models; see the layer `fla.layers.Mamba2`."""

    model_type = "mamba2"
    attribute_map = {"time_step_min": "dt_min", "time_step_max": "dt_max", "time_step_floor": "dt_init_floor",
                     "time_step_limit": "dt_limit", "rms_norm": "rmsnorm"}
    defaults = dict(
        head_dim=64, vocab_size=32000, hidden_size=2048, state_size=128, num_hidden_layers=48, norm_eps=1e-5,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, expand=2, conv_kernel=4, n_groups=1, use_bias=False,
        use_conv_bias=True, conv_init=None, A_init_range=(1, 16), D_has_hdim=False, hidden_act="silu",
        initializer_range=0.02, residual_in_fp32=True, dt_min=0.001, dt_max=0.1, dt_init_floor=1e-4,
        dt_limit=(0.0, float("inf")), rescale_prenorm_residual=True, use_cache=True, rmsnorm=True,
        norm_before_gate=False, chunk_size=256, fuse_norm=True, fuse_cross_entropy=True,
        fuse_linear_cross_entropy=False, use_l2warp=False, tie_word_embeddings=False,
    )

    def rename(self, values: dict, others: dict, explicit: frozenset) -> tuple[dict, dict]:
        others.pop("num_heads", None)      # follows from the sizes
        return rename(values, others, explicit, self.attribute_map)

    def settle(self) -> None:
        self.num_heads = int(self.expand * self.hidden_size / self.head_dim)
        low, high = self.A_init_range
        if not 0 < low <= high:
            raise ValueError(f"`A_init_range` must be a positive (min, max) pair; got {self.A_init_range}")
        if not 0 < self.dt_min <= self.dt_max:
            raise ValueError("`dt_min` and `dt_max` must satisfy 0 < dt_min <= dt_max; "
                             f"got {self.dt_min}, {self.dt_max}")
        if self.dt_init_floor <= 0:
            raise ValueError(f"`dt_init_floor` must be > 0; got {self.dt_init_floor}")
