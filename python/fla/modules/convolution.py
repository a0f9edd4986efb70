"""The convolutions of :mod:`fla.modules.conv` under the path that most code imports them from."""

from ._applies import applies
from .conv import (
    ImplicitLongConvolution,
    LongConvolution,
    PositionalEmbedding,
    ShortConvolution,
    causal_conv1d,
    fft_conv,
)
from .conv.causal_conv1d import causal_conv1d_update_states
from .conv.update import causal_conv1d_update, causal_conv1d_update_cuda

__all__ = ["CausalConv1dFunction", "ImplicitLongConvolution", "LongConvolution", "PositionalEmbedding",
           "ShortConvolution", "causal_conv1d", "causal_conv1d_fwd", "causal_conv1d_update",
           "causal_conv1d_update_cuda", "causal_conv1d_update_states", "fast_causal_conv1d_fn", "fft_conv"]


def causal_conv1d_fwd(x, weight, bias, residual, initial_state=None, output_final_state=False, activation=None,
                      cu_seqlens=None, cu_seqlens_cpu=None, chunk_indices=None, BT=64, layout_fallback=False):
    """:func:`causal_conv1d` with the arguments of the original's forward launcher; the last four are not needed."""
    return causal_conv1d(x, weight, bias, residual, initial_state, output_final_state, activation,
                         cu_seqlens=cu_seqlens)


def fast_causal_conv1d_fn(x, weight=None, bias=None, residual=None, initial_state=None, output_final_state=False,
                          activation=None, cu_seqlens=None, cu_seqlens_cpu=None, chunk_indices=None, seq_idx=None):
    """:func:`causal_conv1d` with the arguments of the original's mixed backend."""
    return causal_conv1d(x, weight, bias, residual, initial_state, output_final_state, activation,
                         cu_seqlens=cu_seqlens, seq_idx=seq_idx)


CausalConv1dFunction = applies("CausalConv1dFunction", causal_conv1d_fwd, __name__)
