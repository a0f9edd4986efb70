"""Rotary position embeddings, with offsets, packed sequences and, by ``scale_base``, XPos.

Sources: Su et al. 2021, RoFormer (arXiv:2104.09864); Sun et al. 2022, XPos (arXiv:2212.10554).
"""

from __future__ import annotations

import torch
import torch.nn as nn

from ._applies import applies
from ._precision import wide
from ._sequences import check_packed, sequence_of_rows

__all__ = ["RotaryEmbedding", "RotaryEmbeddingFunction", "rotary_embedding", "rotary_embedding_fwdbwd",
           "rotary_embedding_ref", "rotate_half"]


def rotate_half(x: torch.Tensor, interleaved: bool = False) -> torch.Tensor:
    """(-x2, x1) for x = (x1, x2): the two halves of the last dimension, or its even and odd entries."""
    if interleaved:
        return torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


def _twice(angles: torch.Tensor, interleaved: bool) -> torch.Tensor:
    """[..., R/2] to [..., R] in the layout of the pairs."""
    return angles.repeat_interleave(2, -1) if interleaved else torch.cat((angles, angles), -1)


def _rotate(x, cos, sin, interleaved):
    """``x [..., T, H, D]`` by ``cos, sin [..., T, R/2]``; the entries past R stay. R must not be over D (ValueError)."""
    size = 2 * cos.shape[-1]
    if size > x.shape[-1]:
        raise ValueError(f"expected at least {size} entries a head, got {x.shape[-1]}")
    cos, sin = (_twice(t, interleaved).unsqueeze(-2) for t in (cos, sin))
    turned = x[..., :size]
    return torch.cat([turned * cos + rotate_half(turned, interleaved) * sin, x[..., size:]], -1)


def rotary_embedding_ref(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor,
                         interleaved: bool = False) -> torch.Tensor:
    """``x [..., T, H, D]`` turned by the angles of ``cos, sin [..., T, R/2]``, without offsets."""
    return _rotate(x, cos, sin, interleaved)


def _positions(x, seqlen_offsets, cu_seqlens):
    """The position of each row of ``x [B, T, H, D]``: [T], or [B, T] when they differ between batch rows."""
    rows = torch.arange(x.shape[1], device=x.device)
    if cu_seqlens is not None:
        of = sequence_of_rows(cu_seqlens, x.shape[1]).long()
        rows = rows - cu_seqlens[of]
        if isinstance(seqlen_offsets, torch.Tensor):
            # Rows past the last boundary have no offset of their own.
            seqlen_offsets = torch.cat([seqlen_offsets, seqlen_offsets.new_zeros(1)])[of]
        return rows + seqlen_offsets
    if isinstance(seqlen_offsets, torch.Tensor):
        return rows + seqlen_offsets[:, None]
    return rows + seqlen_offsets


def _check(x, cos, sin, seqlen_offsets, cu_seqlens):
    if x.dim() != 4:
        raise ValueError(f"expected x of shape [B, T, H, D], got {tuple(x.shape)}")
    if cos.shape != sin.shape or cos.dim() != 2:
        raise ValueError(f"expected cos and sin of one shape [TR, R/2], got {tuple(cos.shape)} and {tuple(sin.shape)}")
    if cu_seqlens is not None:
        check_packed(x, cu_seqlens)
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    if isinstance(seqlen_offsets, torch.Tensor):
        if seqlen_offsets.shape != (sequences,) or seqlen_offsets.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"expected seqlen_offsets of shape ({sequences},) in int32 or int64, got "
                             f"{tuple(seqlen_offsets.shape)} in {seqlen_offsets.dtype}")
    elif cu_seqlens is None and x.shape[1] + seqlen_offsets > cos.shape[0]:
        raise ValueError(f"expected cos and sin for {x.shape[1]} + {seqlen_offsets} positions, got {cos.shape[0]}")


def _at(table: torch.Tensor, x: torch.Tensor, seqlen_offsets, cu_seqlens) -> torch.Tensor:
    """The table's rows for the positions of x, in float32 or float64.

    Rows before position 0 are left padding and take row 0, whatever they hold.
    """
    if isinstance(seqlen_offsets, int) and seqlen_offsets >= 0 and cu_seqlens is None:
        return wide(table[seqlen_offsets:seqlen_offsets + x.shape[1]])
    return wide(table)[_positions(x, seqlen_offsets, cu_seqlens).clamp(min=0)]


def rotary_embedding_fwdbwd(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor,
                            seqlen_offsets: int | torch.Tensor = 0, cu_seqlens: torch.Tensor | None = None,
                            interleaved: bool = False, inplace: bool = False, conjugate: bool = False,
                            chunk_indices: torch.LongTensor | None = None) -> torch.Tensor:
    """:func:`rotary_embedding`; with ``conjugate`` by the opposite angles, which is its gradient."""
    _check(x, cos, sin, seqlen_offsets, cu_seqlens)
    cos, sin = (_at(table, x, seqlen_offsets, cu_seqlens) for table in (cos, sin))
    y = _rotate(wide(x), cos, -sin if conjugate else sin, interleaved).to(x.dtype)
    return x.copy_(y) if inplace else y


def rotary_embedding(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False,
                     inplace: bool = False, seqlen_offsets: int | torch.Tensor = 0,
                     cu_seqlens: torch.Tensor | None = None, chunk_indices: torch.LongTensor | None = None):
    """Turns the pairs of each head by the angle of its position.

    Args:
        x: [B, T, H, D] in float16, bfloat16, float32 or float64, any D >= R.
        cos, sin: tables [TR, R/2] of positions; entries of a head past R stay as they are.
        interleaved: pairs are neighbours (GPT-J) instead of halves (GPT-NeoX).
        inplace: whether x is overwritten and returned.
        seqlen_offsets: how far sequences are shifted: a number or int32/int64 [N].
        cu_seqlens: boundaries [N+1] of sequences packed into x [1, T, H, D]; each starts at 0.
        chunk_indices: accepted and not needed.

    Returns:
        [B, T, H, D] in the dtype of x, computed in float32 (float64 for float64). Rows
        before position 0, left padding, are turned as by position 0.

    Raises ValueError for shapes that do not fit, ValueError or IndexError for positions that
    the tables do not reach.
    """
    return rotary_embedding_fwdbwd(x, cos, sin, seqlen_offsets, cu_seqlens, interleaved, inplace)


RotaryEmbeddingFunction = applies("RotaryEmbeddingFunction", rotary_embedding, __name__)


class RotaryEmbedding(nn.Module):
    """Rotary embeddings of queries and keys, with tables that grow as positions do.

    Args:
        dim: entries R of a head that are turned.
        base: the base of the geometric row of frequencies.
        scale_base: XPos's; queries grow and keys shrink with their position.
        interleaved: pairs are neighbours (GPT-J) instead of halves (GPT-NeoX).
        pos_idx_in_fp32: positions in float32; False takes the dtype of ``inv_freq``, as models
            trained in pure bfloat16 by old releases need it.

    Buffers, not in the state dict: ``inv_freq [ceil(R/2)]`` and, with scale_base, ``scale [ceil(R/2)]``.
    """

    def __init__(self, dim: int, base: float = 10000.0, scale_base: float | None = None, interleaved: bool = False,
                 pos_idx_in_fp32: bool = True, device: torch.device | None = None):
        super().__init__()
        self.dim = dim
        self.base = float(base)
        self.scale_base = scale_base
        self.interleaved = interleaved
        self.pos_idx_in_fp32 = pos_idx_in_fp32
        self.device = device
        half = (dim + 1) // 2
        self.register_buffer("inv_freq", torch.empty(half, dtype=torch.float32, device=device), persistent=False)
        scale = None if scale_base is None else torch.empty(half, dtype=torch.float32, device=device)
        self.register_buffer("scale", scale, persistent=False)
        self._seq_len_cached = 0
        self._cos_cached = self._sin_cached = None
        self._cos_k_cached = self._sin_k_cached = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Computes the buffers anew."""
        with torch.no_grad():
            self.inv_freq.copy_(self._compute_inv_freq(self.inv_freq.device))
            if self.scale is not None:
                self.scale.copy_(self._compute_scale(self.scale.device))

    def __repr__(self) -> str:
        scale = [] if self.scale_base is None else [f"scale_base={self.scale_base}"]
        facts = [f"dim={self.dim}", f"base={self.base}", f"interleaved={self.interleaved}", *scale,
                 f"pos_idx_in_fp32={self.pos_idx_in_fp32}"]
        return f"{type(self).__name__}({', '.join(facts)})"

    def _compute_inv_freq(self, device: torch.device | None = None) -> torch.Tensor:
        steps = torch.arange(0, self.dim, 2, device=device, dtype=torch.float32)
        return 1.0 / self.base ** (steps / self.dim)

    def _compute_scale(self, device: torch.device | None = None) -> torch.Tensor:
        steps = torch.arange(0, self.dim, 2, device=device, dtype=torch.float32)
        return (steps + 0.4 * self.dim) / (1.4 * self.dim)

    def _angles(self, seqlen: int, device: torch.device) -> torch.Tensor:
        """[seqlen, R/2]. A model cast to bfloat16 has a rounded inv_freq, which is then computed again."""
        if not self.pos_idx_in_fp32:
            return torch.outer(torch.arange(seqlen, device=device, dtype=self.inv_freq.dtype), self.inv_freq)
        exact = self.inv_freq.dtype == torch.float32
        inv_freq = self.inv_freq if exact else self._compute_inv_freq(device)
        return torch.outer(torch.arange(seqlen, device=device, dtype=torch.float32), inv_freq.to(device))

    def _is_stale(self, seqlen: int, device: torch.device, dtype: torch.dtype) -> bool:
        table = self._cos_cached
        return table is None or seqlen > self._seq_len_cached or table.device != device or table.dtype != dtype

    def _update_cos_sin_cache(self, seqlen: int, device: torch.device | None = None,
                              dtype: torch.dtype | None = None) -> None:
        """Makes tables of ``seqlen`` positions in ``dtype``, unless those at hand serve."""
        if self._is_stale(seqlen, device, dtype):
            # Tables made in inference mode could not take part in a computation that is differentiated.
            with torch.inference_mode(False), torch.no_grad():
                self._make_tables(seqlen, device, dtype)

    def _make_tables(self, seqlen: int, device: torch.device, dtype: torch.dtype) -> None:
        self._seq_len_cached = seqlen
        angles = self._angles(seqlen, device)
        cos, sin = torch.cos(angles), torch.sin(angles)
        if self.scale is None:
            self._cos_cached, self._sin_cached = cos.to(dtype), sin.to(dtype)
            return
        power = (torch.arange(seqlen, device=device, dtype=self.scale.dtype) - seqlen // 2) / self.scale_base
        scale = self.scale.to(device) ** power[:, None]
        self._cos_cached, self._sin_cached = (cos * scale).to(dtype), (sin * scale).to(dtype)
        self._cos_k_cached, self._sin_k_cached = (cos / scale).to(dtype), (sin / scale).to(dtype)

    def forward(self, q: torch.Tensor, k: torch.Tensor, seqlen_offset: int | torch.Tensor = 0,
                cu_seqlens: torch.Tensor | None = None, max_seqlen: int | None = None,
                chunk_indices: torch.LongTensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """q [B, T, H, D] and k [B, T, H', D], turned; arguments as of :func:`rotary_embedding`.

        ``max_seqlen`` is the number of positions that the tables need. Without it the number is
        T plus the offset; for offsets on a GPU that makes the program wait for them.
        """
        if max_seqlen is None:
            farthest = seqlen_offset if isinstance(seqlen_offset, int) else int(seqlen_offset.max())
            max_seqlen = q.shape[1] + max(farthest, 0)
        self._update_cos_sin_cache(max_seqlen, device=q.device, dtype=q.dtype)
        tables = ((self._cos_cached, self._sin_cached),) * 2
        if self.scale is not None:
            tables = tables[0], (self._cos_k_cached, self._sin_k_cached)
        q, k = (rotary_embedding(x, *table, interleaved=self.interleaved, seqlen_offsets=seqlen_offset,
                                 cu_seqlens=cu_seqlens) for x, table in zip((q, k), tables))
        return q, k
