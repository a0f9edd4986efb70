"""Causal convolutions: the short depthwise one before an operator, and long ones by FFT."""

from .causal_conv1d import causal_conv1d
from .long_conv import ImplicitLongConvolution, LongConvolution, PositionalEmbedding, fft_conv
from .short_conv import ShortConvolution

__all__ = ["ImplicitLongConvolution", "LongConvolution", "PositionalEmbedding", "ShortConvolution", "causal_conv1d",
           "fft_conv"]
