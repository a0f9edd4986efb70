"""Causal convolutions as long as the sequence, by FFT, with explicit or implicit filters.

Sources: Fu et al. 2023 (arXiv:2302.06646), Poli et al. 2023, Hyena (arXiv:2302.10866).
"""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from .._precision import wide

__all__ = ["ImplicitLongConvolution", "LongConvolution", "PositionalEmbedding", "fft_conv"]


def fft_conv(u: torch.Tensor, k: torch.Tensor, dropout_mask: torch.Tensor | None, gelu: bool = True,
             k_rev: torch.Tensor | None = None) -> torch.Tensor:
    """u + the causal convolution of ``u [B, D, L]`` with ``k [D, K]`` or [1, D, K]; taps past L do not matter.

    ``k_rev`` is a filter for the reversed direction; ``dropout_mask [B, D]`` is multiplied
    at the end. Computed in float32 (float64 for float64), given in the dtype of u.
    """
    length = u.shape[-1]
    signal, size = wide(u), 2 * length
    spectrum = torch.fft.rfft(wide(k[..., :length]), n=size)
    if k_rev is not None:
        spectrum = spectrum + torch.fft.rfft(wide(k_rev[..., :length]), n=size).conj()
    if u.dim() > 3:
        spectrum = spectrum.unsqueeze(1)
    y = signal + torch.fft.irfft(torch.fft.rfft(signal, n=size) * spectrum, n=size)[..., :length]
    if gelu:
        y = F.gelu(y)
    return (y if dropout_mask is None else y * dropout_mask.unsqueeze(-1)).to(u.dtype)


class LongConvolution(nn.Module):
    """A learned ``filter [hidden_size, max_len]`` applied to ``x [B, T, hidden_size]``, T at most max_len."""

    def __init__(self, hidden_size: int, max_len: int, **kwargs):
        super().__init__()
        self.hidden_size = hidden_size
        self.filter = nn.Parameter(torch.randn(hidden_size, max_len))

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        """x [B, T, hidden_size]; the result has its shape and dtype."""
        return fft_conv(x.transpose(1, 2), self.filter, None, gelu=False).transpose(1, 2)


class PositionalEmbedding(nn.Module):
    """Fixed features ``z [1, seq_len, emb_dim]`` of a position: the time from 0 to 1, then cosines and sines.

    Raises ValueError unless ``emb_dim`` is odd and at least 3.
    """

    def __init__(self, emb_dim: int, seq_len: int, **kwargs):
        super().__init__()
        if emb_dim % 2 == 0 or emb_dim < 3:
            raise ValueError(f"expected an odd emb_dim of at least 3 (time, cosines, sines), got {emb_dim}")
        self.seq_len = seq_len
        bands = (emb_dim - 1) // 2
        time = torch.linspace(0, 1, seq_len)[None, :, None]
        angle = 2 * math.pi * torch.arange(seq_len)[None, :, None] / seq_len
        phase = torch.linspace(1e-4, bands - 1, bands) * angle
        self.z = nn.Parameter(torch.cat([time, phase.cos(), -phase.sin()], -1), requires_grad=False)

    def forward(self, L: int) -> torch.Tensor:
        """The features of the first L positions: [1, L, emb_dim]."""
        return self.z[:, :L]


class ImplicitLongConvolution(nn.Module):
    """A filter that a small network computes from positions, applied to ``x [B, T, hidden_size]``.

    Args:
        hidden_size: channels.
        max_len: the longest sequence.
        d_emb: features of a position; odd and at least 3 (ValueError).
        d_hidden: hidden units of the network.
    """

    def __init__(self, hidden_size: int, max_len: int, d_emb: int = 3, d_hidden: int = 16, **kwargs):
        super().__init__()
        self.hidden_size = hidden_size
        self.d_emb = d_emb
        self.pos_emb = PositionalEmbedding(d_emb, max_len)
        self.mlp = nn.Sequential(nn.Linear(d_emb, d_hidden), nn.ReLU(), nn.Linear(d_hidden, hidden_size))

    def filter(self, seq_len: int, *args, **kwargs) -> torch.Tensor:
        """The filter [1, hidden_size, seq_len]."""
        return self.mlp(self.pos_emb(seq_len)).transpose(1, 2)

    def forward(self, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        """x [B, T, hidden_size]; the result has its shape and dtype."""
        k = self.filter(x.shape[1])
        return fft_conv(x.transpose(1, 2), k, None, gelu=False).transpose(1, 2)
