"""Softmax attention of grouped heads with rotary positions, a window and a cache.

Positions count the real tokens of a row, so padding anywhere changes nothing.
Cached keys and values are right-aligned: slot S-1 is the newest real token.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from ._call import check_mask, merge
from .utils import get_layer_cache, get_unpad_data, pad_input, require_cache_layer_idx

__all__ = ["SoftmaxAttention"]


def _sdpa(q, k, v, mask=None, causal=False) -> torch.Tensor:
    """[B, T, H, D] attention over [B, S, H' , D] keys and values, H' a divisor of H; mask [B, 1, T, S]."""
    if k.shape[2] != v.shape[2]:      # one key head for all
        k = k.expand(-1, -1, v.shape[2], -1)
    if q.dtype == torch.float16 and q.device.type == "cpu":
        # CPUs emulate float16, and PyTorch rounds the weights to it block by block: where a row
        # starts would show in its results. What is wider is made again on the way back, not kept.
        wide = lambda q, k, v: _heads_first(q.float(), k.float(), v.float(), mask, causal)
        return checkpoint(wide, q, k, v, use_reentrant=False, preserve_rng_state=False).to(q.dtype)
    return _heads_first(q, k, v, mask, causal)


def _heads_first(q, k, v, mask, causal) -> torch.Tensor:
    """PyTorch's attention, which has heads before tokens."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])
    return o.transpose(1, 2)


def _window_mask(positions_q, positions_k, window: int | None) -> torch.Tensor:
    """[..., T, S]: which keys a query sees, those at or before it and inside the window."""
    distance = positions_q.unsqueeze(-1) - positions_k.unsqueeze(-2)
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)


class SoftmaxAttention(nn.Module):
    """What attention layers share; a layer has q_proj, k_proj, v_proj, o_proj and rotary.

    forward takes [B, T, D], a mask [B, T] or longer of padding, or packed
    sequences [1, T, D] with cu_seqlens, and returns (o [B, T, D], None, the cache).
    """

    window_size: int | None = None
    qk_norm = False

    def _project(self, x: torch.Tensor):
        q, k, v = (y.unflatten(-1, (-1, self.head_dim)) for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x)))
        return (self.q_norm(q), self.k_norm(k), v) if self.qk_norm else (q, k, v)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                output_attentions: bool = False, use_cache: bool = False, **kwargs):
        check_mask(attention_mask, hidden_states)
        cu_seqlens = kwargs.get("cu_seqlens")
        if cu_seqlens is not None and hidden_states.shape[0] != 1:
            raise ValueError(f"{type(self).__name__}: expected a batch of one with cu_seqlens, "
                             f"got {hidden_states.shape[0]}; pack the sequences along time")
        require_cache_layer_idx(self, past_key_values)
        mask = None
        if attention_mask is not None and cu_seqlens is None:
            mask = attention_mask[:, -hidden_states.shape[1]:].bool()
            mask = None if bool(mask.all()) else mask
        q, k, v = self._project(hidden_states)
        if cu_seqlens is not None and past_key_values is None:
            o = self._packed(q, k, v, cu_seqlens)
        elif cu_seqlens is not None:
            o = self._packed_cached(q, k, v, cu_seqlens, past_key_values, kwargs)
        else:
            o = self._rows(q, k, v, mask, past_key_values, kwargs)
        return self.o_proj(merge(o).to(hidden_states.dtype)), None, past_key_values

    def _rotate(self, q, k, mask, past):
        """Rotary positions of rows; those of padding are left as they are."""
        before = reach = 0
        if past is not None:
            before, reach = past.get_lengths(self.layer_idx), past.get_seq_length(self.layer_idx)
        tokens = q.shape[1]
        reach = max(tokens + reach, self.max_position_embeddings or 0)
        if mask is None:
            return self.rotary(q, k, seqlen_offset=before, max_seqlen=reach)
        indices, cu_seqlens, _ = get_unpad_data(mask)
        packed = (x.flatten(0, 1).index_select(0, indices).unsqueeze(0) for x in (q, k))
        packed = self.rotary(*packed, seqlen_offset=before, max_seqlen=reach, cu_seqlens=cu_seqlens)
        return tuple(pad_input(x.squeeze(0), indices, q.shape[0], tokens) for x in packed)

    def _packed(self, q, k, v, cu_seqlens) -> torch.Tensor:
        """Sequences along time, each attending to itself."""
        q, k = self.rotary(q, k, max_seqlen=max(q.shape[1], self.max_position_embeddings or 0), cu_seqlens=cu_seqlens)
        bounds = cu_seqlens.tolist()
        parts = [self._attend(q[:, a:b], k[:, a:b], v[:, a:b]) for a, b in zip(bounds, bounds[1:]) if b > a]
        if bounds[-1] < q.shape[1]:      # tokens behind the last sequence belong to none
            parts.append(torch.zeros_like(v.new_empty(1, q.shape[1] - bounds[-1], *q.shape[2:])))
        return torch.cat(parts, 1)

    def _packed_cached(self, q, k, v, cu_seqlens, past, kwargs) -> torch.Tensor:
        """Packed sequences with a cache: as rows with padding on the right."""
        lengths = cu_seqlens.diff()
        longest = int(lengths.max())
        mask = torch.arange(longest, device=q.device) < lengths[:, None]
        indices = torch.nonzero(mask.flatten()).flatten()
        rows = (pad_input(x[0, :indices.numel()], indices, lengths.numel(), longest) for x in (q, k, v))
        o = self._rows(*rows, mask, past, kwargs).flatten(0, 1).index_select(0, indices).unsqueeze(0)
        return F.pad(o, (0, 0, 0, 0, 0, q.shape[1] - indices.numel()))

    def _attend(self, q, k, v) -> torch.Tensor:
        """Tokens without padding, from the first one."""
        tokens = q.shape[1]
        if self.window_size is None or tokens <= self.window_size:
            return _sdpa(q, k, v, causal=True)
        position = torch.arange(tokens, device=q.device)
        return _sdpa(q, k, v, _window_mask(position, position, self.window_size))

    def _rows(self, q, k, v, mask, past, kwargs) -> torch.Tensor:
        """Rows of a batch, with what the cache has of them."""
        q, k = self._rotate(q, k, mask, past)
        old = (get_layer_cache(self, past) or {}).get("attn_state") if past is not None else None
        before = past.get_lengths(self.layer_idx) if past is not None else 0
        if past is not None:
            lengths = q.shape[1] if mask is None else mask.sum(-1)
            state = past.update(attn_state=(merge(k), merge(v)), layer_idx=self.layer_idx, offset=q.shape[1],
                                lengths=lengths, cache_kwargs={"window_size": self.window_size, "mask": mask},
                                **self._other_states(kwargs))
        if old is None and mask is None:
            return self._attend(q, k, v)
        if mask is None and q.shape[1] == 1:
            # One token of each row: it sees all that the cache kept and that is no padding.
            k, v = (x.unflatten(-1, (-1, self.head_dim)) for x in state["attn_state"])
            slots = torch.arange(k.shape[1] - 1, -1, -1, device=q.device)       # tokens back from this one
            return _sdpa(q, k, v, None if isinstance(before, int) else (slots <= before[:, None])[:, None, None])
        return self._masked(q, k, v, mask, old, before)

    def _other_states(self, kwargs) -> dict:
        """Further states to keep in the same update."""
        return {}

    def _masked(self, q, k, v, mask, old, before) -> torch.Tensor:
        """The general case: old keys, then the new ones, each with its position or hidden."""
        batch, tokens = q.shape[:2]
        real = mask if mask is not None else torch.ones(batch, tokens, dtype=torch.bool, device=q.device)
        if not isinstance(before, torch.Tensor):
            before = torch.full((batch,), before, device=q.device)
        position = before[:, None] + real.cumsum(-1) - 1
        keys_at, visible = position, real
        if old is not None:
            slots = torch.arange(old[0].shape[1] - 1, -1, -1, device=q.device)       # tokens back from the newest
            old_at = before[:, None] - 1 - slots
            keys_at, visible = torch.cat((old_at, position), 1), torch.cat((old_at >= 0, real), 1)
            k, v = (torch.cat((o.unflatten(-1, (-1, self.head_dim)), n), 1) for o, n in zip(old, (k, v)))
        seen = _window_mask(position, keys_at, self.window_size) & visible[:, None]
        seen = seen | ~real[..., None]        # padding sees everything, so that its rows are finite
        o = _sdpa(q, k, v, seen[:, None])
        return o.masked_fill(~real[..., None, None], 0)
