"""The short convolution under the path of the original's default backend; nothing here needs Triton."""

from ..convolution import (
    CausalConv1dFunction,
    causal_conv1d_fwd,
    causal_conv1d_update,
    causal_conv1d_update_states,
)

__all__ = ["CausalConv1dFunction", "causal_conv1d_fwd", "causal_conv1d_update", "causal_conv1d_update_states"]
