"""The short convolution under the path of the original's CUDA backends; it runs on any device."""

from ..convolution import causal_conv1d as causal_conv1d_cuda
from ..convolution import fast_causal_conv1d_fn

__all__ = ["causal_conv1d_cuda", "fast_causal_conv1d_fn"]
