"""Gates summed inside chunks, before and after each token."""

from __future__ import annotations

import torch

from ..utils.cumsum import chunk_local_cumsum

__all__ = ["chunk_comba_cumsum_scalar_fwd"]


def chunk_comba_cumsum_scalar_fwd(
    g: torch.Tensor,
    chunk_size: int,
    cu_seqlens: torch.Tensor | None = None,
    head_first: bool = False,
    output_dtype: torch.dtype | None = torch.float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sums before, sums after) each token of g [B, T, H] within its chunk; the second includes the token."""
    after = chunk_local_cumsum(g, chunk_size, cu_seqlens=cu_seqlens, head_first=head_first, output_dtype=output_dtype)
    return after - g.to(after.dtype), after
