"""Offsets, lengths and indices of packed sequences.

cu_seqlens [N + 1] are offsets, lens [N] lengths, a mask [B, T] has the tokens that
count. Results are on the arguments' device; cu_seqlens_cpu, a copy on the host,
spares the device a synchronisation. Recent results are remembered (tensor_cache).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fla.utils import tensor_cache

__all__ = ["prepare_lens", "prepare_lens_from_mask", "prepare_lens_from_cu_seqlens", "prepare_cu_seqlens_from_lens",
           "prepare_cu_seqlens_from_mask", "prepare_split_cu_seqlens", "prepare_position_ids", "prepare_sequence_ids",
           "prepare_token_indices", "prepare_chunk_indices", "prepare_chunk_offsets", "get_max_num_splits"]


@tensor_cache
def prepare_lens(cu_seqlens: torch.Tensor) -> torch.Tensor:
    """Lengths [N]."""
    return cu_seqlens.diff()


prepare_lens_from_cu_seqlens = prepare_lens


@tensor_cache
def prepare_lens_from_mask(mask: torch.Tensor) -> torch.Tensor:
    """Lengths [B] of a mask, int32."""
    return mask.sum(-1, dtype=torch.int32)


@tensor_cache
def prepare_cu_seqlens_from_lens(lens: torch.Tensor, dtype: torch.dtype | None = torch.int32) -> torch.Tensor:
    """Offsets [N + 1] of lengths."""
    return F.pad(lens.cumsum(0, dtype=dtype), (1, 0))


@tensor_cache
def prepare_cu_seqlens_from_mask(mask: torch.Tensor, dtype: torch.dtype | None = torch.int32) -> torch.Tensor:
    """Offsets [B + 1] of a mask's rows."""
    return prepare_cu_seqlens_from_lens(prepare_lens_from_mask(mask), dtype)


@tensor_cache
def prepare_split_cu_seqlens(
    batch_size: int | None = None,
    seq_len: int | None = None,
    split_size: int | None = None,
    cu_seqlens: torch.Tensor | None = None,
    dtype: torch.dtype | None = torch.int32,
    device: torch.device | None = torch.device("cpu"),
) -> torch.Tensor:
    """Offsets of pieces of at most split_size tokens, of packed sequences or of batch_size rows of seq_len.

    Raises TypeError where a size is missing.
    """
    if split_size is None or cu_seqlens is None and (batch_size is None or seq_len is None):
        raise TypeError("prepare_split_cu_seqlens: expected split_size and either cu_seqlens or batch_size and seq_len")
    offsets = [i * seq_len for i in range(batch_size + 1)] if cu_seqlens is None else cu_seqlens.tolist()
    starts = [i for a, b in zip(offsets, offsets[1:]) for i in range(a, b, split_size)]
    return torch.tensor([*starts, offsets[-1]], dtype=dtype, device=device)


def _within(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(segment, position in it) of every element of segments with these counts: [2, 1] gives [0, 0, 1], [0, 1, 0]."""
    segment = torch.repeat_interleave(torch.arange(counts.shape[0], device=counts.device), counts)
    starts = F.pad(counts.cumsum(0), (1, 0))
    return segment, torch.arange(segment.shape[0], device=counts.device) - starts[segment]


def _lens(cu_seqlens: torch.Tensor, cu_seqlens_cpu: torch.Tensor | None) -> torch.Tensor:
    return prepare_lens(cu_seqlens if cu_seqlens_cpu is None else cu_seqlens_cpu).long()


@tensor_cache
def prepare_position_ids(cu_seqlens: torch.Tensor, cu_seqlens_cpu: torch.Tensor | None = None) -> torch.Tensor:
    """Each token's position in its sequence [T]."""
    return _within(_lens(cu_seqlens, cu_seqlens_cpu))[1].to(cu_seqlens)


@tensor_cache
def prepare_sequence_ids(cu_seqlens: torch.Tensor, cu_seqlens_cpu: torch.Tensor | None = None) -> torch.Tensor:
    """Each token's sequence [T], int64; sequences without tokens are not counted."""
    return prepare_position_ids(cu_seqlens, cu_seqlens_cpu).eq(0).cumsum(0) - 1


@tensor_cache
def prepare_token_indices(cu_seqlens: torch.Tensor, cu_seqlens_cpu: torch.Tensor | None = None) -> torch.Tensor:
    """[T, 2]: each token's sequence, as prepare_sequence_ids counts, and its position there."""
    position = prepare_position_ids(cu_seqlens, cu_seqlens_cpu)
    return torch.stack((prepare_sequence_ids(cu_seqlens, cu_seqlens_cpu).to(position), position), 1)


@tensor_cache
def prepare_chunk_indices(cu_seqlens: torch.Tensor, chunk_size: int,
                          cu_seqlens_cpu: torch.Tensor | None = None) -> torch.Tensor:
    """[chunks, 2]: each chunk's sequence and its number there."""
    counts = (_lens(cu_seqlens, cu_seqlens_cpu) + chunk_size - 1) // chunk_size
    return torch.stack(_within(counts), 1).to(cu_seqlens)


@tensor_cache
def prepare_chunk_offsets(cu_seqlens: torch.Tensor, chunk_size: int) -> torch.Tensor:
    """[N + 1]: how many chunks come before each sequence."""
    return F.pad((prepare_lens(cu_seqlens) + chunk_size - 1) // chunk_size, (1, 0)).cumsum(0)


@tensor_cache
def get_max_num_splits(cu_seqlens: torch.Tensor, chunk_size: int, cu_seqlens_cpu: torch.Tensor | None = None) -> int:
    """Chunks of the longest sequence."""
    return (int(_lens(cu_seqlens, cu_seqlens_cpu).max()) + chunk_size - 1) // chunk_size
