"""Rows without padding, and the state that a layer keeps between calls.

A batch with padding is computed as the sequence of its real tokens, packed along
time (``cu_seqlens``), and spread out again. Padding then cannot reach a state,
on the left, on the right or between tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["get_layer_cache", "get_unpad_data", "index_first_axis", "index_put_first_axis", "pad_input",
           "repad_hidden_states", "require_cache_layer_idx", "unpad_hidden_states", "unpad_input",
           "update_layer_cache"]


def index_first_axis(x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Rows `indices` [Z] of x [N, ...]: [Z, ...]."""
    if x.dim() < 2:
        raise ValueError(f"index_first_axis: expected a tensor of two axes or more, got shape {tuple(x.shape)}")
    return x.index_select(0, indices)


def index_put_first_axis(x: torch.Tensor, indices: torch.Tensor, first_axis_dim: int) -> torch.Tensor:
    """x [Z, ...] at rows `indices` of zeros [first_axis_dim, ...]."""
    if indices.dim() != 1 or x.dim() < 2:
        raise ValueError("index_put_first_axis: expected indices of one axis and a tensor of two axes or more, "
                         f"got shapes {tuple(indices.shape)} and {tuple(x.shape)}")
    return x.new_zeros(first_axis_dim, *x.shape[1:]).index_copy(0, indices.long(), x)


def get_unpad_data(attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(indices, cu_seqlens, longest) of the real tokens of a mask [B, T], 1 for a token and 0 for padding.

    indices: where the real tokens are in the flattened [B * T]; cu_seqlens
    [B + 1], int32: where each row starts among them; longest: of the rows.
    """
    lengths = attention_mask.sum(-1, dtype=torch.int32)
    indices = torch.nonzero(attention_mask.flatten(), as_tuple=False).flatten()
    cu_seqlens = F.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return indices, cu_seqlens, int(lengths.max()) if lengths.numel() else 0


def _flat(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(0, 1)


def unpad_input(q, states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor, q_len: int, keepdim: bool = False):
    """Queries [B, q_len, ...] and states [B, T, ...] without the padding of a mask [B, T].

    q is a tensor or a tuple of them. q_len is T (prefill) or 1 (a decoding step,
    of which every row has its token). Returns (q, states, indices_q, (cu_seqlens_q,
    cu_seqlens_k), (longest_q, longest_k)); tensors are [total, ...], or
    [1, total, ...] with keepdim.

    Raises NotImplementedError for another q_len.
    """
    indices_k, cu_seqlens_k, longest_k = get_unpad_data(attention_mask)
    batch, length = states[0].shape[:2]
    queries = (q,) if isinstance(q, torch.Tensor) else tuple(q)
    if q_len == length:
        queries = tuple(index_first_axis(_flat(x), indices_k) for x in queries)
        indices_q, cu_seqlens_q, longest_q = indices_k, cu_seqlens_k, longest_k
    elif q_len == 1:
        queries = tuple(x.squeeze(1) for x in queries)
        cu_seqlens_q = torch.arange(batch + 1, dtype=torch.int32, device=queries[0].device)
        indices_q, longest_q = cu_seqlens_q[:-1], 1
    else:
        raise NotImplementedError(f"unpad_input: expected q_len {length} (prefill) or 1 (decoding), got {q_len}")
    kept = tuple(index_first_axis(_flat(x), indices_k) for x in states)
    if keepdim:
        queries, kept = (tuple(x.unsqueeze(0) for x in group) for group in (queries, kept))
    return (queries[0] if isinstance(q, torch.Tensor) else queries, kept, indices_q,
            (cu_seqlens_q, cu_seqlens_k), (longest_q, longest_k))


def pad_input(hidden_states: torch.Tensor, indices: torch.Tensor, batch_size: int, seq_len: int) -> torch.Tensor:
    """[total, ...] at `indices` of zeros [batch_size, seq_len, ...]."""
    return index_put_first_axis(hidden_states, indices, batch_size * seq_len).unflatten(0, (batch_size, seq_len))


def unpad_hidden_states(hidden_states: torch.Tensor, cu_seqlens: torch.Tensor | None,
                        attention_mask: torch.Tensor | None, q_len: int):
    """(hidden_states, indices, cu_seqlens) without padding.

    hidden_states [B, q_len, ...] becomes [1, total, ...]; the last q_len columns
    of the mask say which tokens are real. A cu_seqlens that is given wins: the
    input comes back unchanged and indices is None.
    """
    if cu_seqlens is not None or attention_mask is None:
        return hidden_states, None, cu_seqlens
    indices, cu_seqlens, _ = get_unpad_data(attention_mask[:, -q_len:])
    return index_first_axis(_flat(hidden_states), indices).unsqueeze(0), indices, cu_seqlens


def repad_hidden_states(hidden_states: torch.Tensor, indices: torch.Tensor | None, batch_size: int,
                        q_len: int) -> torch.Tensor:
    """[1, total, ...] back to [batch_size, q_len, ...]; unchanged where indices is None."""
    if indices is None:
        return hidden_states
    return pad_input(hidden_states.squeeze(0), indices, batch_size, q_len)


def require_cache_layer_idx(module, past_key_values) -> int | None:
    """The layer's index; ValueError where there is a cache and the layer has none."""
    index = getattr(module, "layer_idx", None)
    if past_key_values is not None and index is None:
        raise ValueError(f"{type(module).__name__} requires `layer_idx` when `past_key_values` is provided.")
    return index


def get_layer_cache(module, past_key_values) -> dict | None:
    """What the layer kept at the last call, or None."""
    index = require_cache_layer_idx(module, past_key_values)
    if past_key_values is not None and len(past_key_values) > index:
        return past_key_values[index]
    return None


def update_layer_cache(module, past_key_values, **kwargs):
    """Keeps recurrent_state=, conv_state=, attn_state=, ffn_state= of this call of `offset` tokens."""
    index = require_cache_layer_idx(module, past_key_values)
    if past_key_values is not None:
        return past_key_values.update(layer_idx=index, **kwargs)
    return None
