"""One call of a layer: its tokens, the state that it starts from, what it keeps."""

from __future__ import annotations

import torch

from .utils import get_layer_cache, repad_hidden_states, unpad_hidden_states, update_layer_cache

__all__ = ["Call", "check_mask", "heads", "merge", "repeat_heads"]


def heads(x: torch.Tensor, dim: int) -> torch.Tensor:
    """[..., H * dim] as [..., H, dim]."""
    return x.unflatten(-1, (-1, dim))


def merge(x: torch.Tensor) -> torch.Tensor:
    """[..., H, D] as [..., H * D]."""
    return x.flatten(-2)


def repeat_heads(x: torch.Tensor, times: int) -> torch.Tensor:
    """[..., H, D] with each head `times` times in a row."""
    return x if times == 1 else x.repeat_interleave(times, dim=-2)


def check_mask(attention_mask: torch.Tensor | None, hidden_states: torch.Tensor) -> None:
    """AssertionError unless the mask marks padding: [batch_size, seq_len], 0 or 1."""
    if attention_mask is None:
        return
    assert attention_mask.dim() == 2, (
        "Expected attention_mask as a 0-1 matrix with shape [batch_size, seq_len] that marks padding with 0; "
        f"got shape {tuple(attention_mask.shape)}. Arbitrary attention masks are not allowed.")
    batch, tokens = hidden_states.shape[:2]
    assert attention_mask.shape[0] == batch and attention_mask.shape[1] >= tokens, (
        f"Expected attention_mask for {batch} rows of {tokens} tokens or more, got shape {tuple(attention_mask.shape)}")


class Call:
    """The tokens of one call of a recurrent layer.

    x: the tokens, [B, T, D], or [1, total, D] where there is padding or the
    caller packs sequences with cu_seqlens. cu_seqlens: [N + 1] or None.
    keep: whether states are wanted, which is whether there is a cache.
    """

    def __init__(self, layer, hidden_states, attention_mask, past_key_values, cu_seqlens=None):
        check_mask(attention_mask, hidden_states)
        if cu_seqlens is not None and hidden_states.shape[0] != 1:
            raise ValueError(f"{type(layer).__name__}: expected a batch of one with cu_seqlens, "
                             f"got {hidden_states.shape[0]}; pack the sequences along time")
        self.layer, self.past = layer, past_key_values
        self.batch, self.tokens = hidden_states.shape[:2]
        self.state = get_layer_cache(layer, past_key_values) or {}
        self.keep = past_key_values is not None
        # Without padding in this call the rows stay rows, which computes faster.
        mask = attention_mask
        if mask is not None and cu_seqlens is None and bool(mask[:, -self.tokens:].all()):
            mask = None
        self.x, self._indices, self.cu_seqlens = unpad_hidden_states(hidden_states, cu_seqlens, mask, self.tokens)
        self.conv_state = None

    @property
    def recurrent_state(self):
        return self.state.get("recurrent_state")

    @property
    def options(self) -> dict:
        """Keywords that every operator takes."""
        return {"initial_state": self.recurrent_state, "output_final_state": self.keep, "cu_seqlens": self.cu_seqlens}

    def pack(self, x: torch.Tensor) -> torch.Tensor:
        """Another tensor [B, T, ...] of the same tokens, as x is."""
        if self._indices is None:
            return x
        return x.flatten(0, 1).index_select(0, self._indices).unsqueeze(0)

    def unpack(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, ...] of a tensor as x is; padding is zero."""
        return repad_hidden_states(x, self._indices, self.batch, self.tokens)

    def project(self, *names: str) -> list[torch.Tensor]:
        """The layer's `name_proj` of the tokens, through its `name_conv1d` where it convolves."""
        layer = self.layer
        parts = [getattr(layer, f"{name}_proj")(self.x) for name in names]
        if not layer.use_short_conv:
            return parts
        return self.convolve([getattr(layer, f"{name}_conv1d") for name in names], parts)

    def convolve(self, convolutions, parts) -> list[torch.Tensor]:
        """Short convolutions over time that continue where the last call ended."""
        before = self.state.get("conv_state") or (None,) * len(parts)
        done = [conv(x=x, cache=cache, output_final_state=self.keep, cu_seqlens=self.cu_seqlens)
                for conv, x, cache in zip(convolutions, parts, before)]
        self.conv_state = tuple(state for _, state in done)
        return [y for y, _ in done]

    @property
    def lengths(self):
        """Real tokens of each sequence in this call: an int, or a tensor [N]."""
        return self.tokens if self.cu_seqlens is None else self.cu_seqlens.diff()

    def rotate(self, rotary, q: torch.Tensor, k: torch.Tensor):
        """q and k with rotary positions that count the real tokens of each sequence."""
        before, reach = 0, self.tokens
        if self.past is not None:
            before = self.past.get_lengths(self.layer.layer_idx)
            reach += self.past.get_seq_length(self.layer.layer_idx)
        return rotary(q, k, seqlen_offset=before, max_seqlen=reach, cu_seqlens=self.cu_seqlens)

    def save(self, recurrent_state=None, **states) -> None:
        """Keeps the states for the next call."""
        update_layer_cache(self.layer, self.past, recurrent_state=recurrent_state, offset=self.tokens,
                           lengths=self.lengths, **{"conv_state": self.conv_state, **states})

    def save_more(self, **states) -> None:
        """Keeps further states of tokens that the layer has counted already."""
        update_layer_cache(self.layer, self.past, offset=0, **states)
