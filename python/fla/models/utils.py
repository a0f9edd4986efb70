"""The cache of recurrent and attention states, and generation with it.

A cache holds one dictionary a layer: recurrent_state, conv_state, ffn_state and
attn_state, as the layer gave them. It works with what ``generate`` of
transformers does to a cache: greedy search, sampling and beams.
"""

from __future__ import annotations

from typing import Any, Callable

import torch
from transformers.cache_utils import Cache as HFCache
from transformers.cache_utils import CacheLayerMixin
from transformers.generation import GenerationMixin

from .growing import append

__all__ = ["Cache", "FLACache", "FLALayer", "FLAGenerationMixin", "FLAUnsupportedCacheGenerationMixin"]

KEYS = ("recurrent_state", "attn_state", "conv_state", "ffn_state", "A_state")


def map_tensors(states: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same tuples, lists and dictionaries with every tensor changed."""
    if isinstance(states, torch.Tensor):
        return change(states)
    if isinstance(states, (tuple, list)):
        return type(states)(map_tensors(s, change) for s in states)
    if isinstance(states, dict):
        return {name: map_tensors(s, change) for name, s in states.items()}
    return states


def first_tensor(states: Any) -> torch.Tensor | None:
    """Some tensor of nested states."""
    found = []
    map_tensors(states, found.append)
    return found[0] if found else None


def right_align(x: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    """[B, T, ...] with the tokens of each row that are padding moved to its start."""
    if padding is None:
        return x
    order = torch.argsort((~padding).int(), dim=1, stable=True)
    return x.gather(1, order.view(*order.shape, *(1,) * (x.dim() - 2)).expand_as(x))


class FLALayer(CacheLayerMixin):
    """What one layer keeps, and how many tokens it has seen."""

    is_compileable = False
    is_sliding = False
    is_croppable = False
    supports_early_init = False

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.state: dict[str, Any] | None = None
        self.seen, self.lengths = 0, 0
        self._rooms: list = []       # where the tensors of attn_state grow

    def lazy_initialization(self, *args, **kwargs) -> None:
        """Nothing to prepare: states come with their shapes."""

    def update(self, *, attn_state=None, offset: int | None = 1, lengths=None, cache_kwargs: dict | None = None,
               **states) -> dict[str, Any]:
        """Keeps the states that are given. attn_state, a tuple of [B, T, ...], is appended along time.

        offset: tokens of this call. lengths: how many of them are real in each
        row, a tensor [N], or None where all are. cache_kwargs: window_size, the
        tokens of attn_state to keep; mask [B, T], true for real tokens.

        Raises ValueError for an attn_state that is no tuple, TypeError for a
        state of another name.
        """
        unknown = set(states) - set(KEYS)
        if unknown:
            raise TypeError(f"cache: expected states {', '.join(KEYS)}, got {', '.join(sorted(unknown))}")
        if self.state is None:
            self.state = dict.fromkeys(KEYS)
        self.state.update({name: state for name, state in states.items() if state is not None})
        if attn_state is not None:
            if not isinstance(attn_state, (tuple, list)):
                raise ValueError("`attn_state` must be a tuple of tensors for key/value states, "
                                 f"got {type(attn_state).__name__}")
            self._append(attn_state, **(cache_kwargs or {}))
        offset = 1 if offset is None else offset
        self.seen += offset
        self.lengths = self.lengths + (offset if lengths is None else lengths)
        self.is_initialized = True
        return self.state

    def _append(self, new, window_size: int | None = None, mask: torch.Tensor | None = None, **_) -> None:
        """Appends tokens, real ones to the right, and keeps the newest window_size."""
        old = self.state["attn_state"]
        padding = None
        if mask is not None:
            before = mask.new_zeros(mask.shape[0], 0 if old is None else old[0].shape[1])
            padding = torch.cat((before, ~mask), 1)
        if old is not None and window_size is None:
            rooms = self._rooms or [None] * len(old)
            self._rooms, new = zip(*(append(*each) for each in zip(rooms, old, new)))
        elif old is not None:
            new = [torch.cat(each, 1) for each in zip(old, new)]
        kept = []
        for x in new:
            x = right_align(x, padding)
            if window_size is not None and x.shape[1] > window_size:
                x = x[:, -window_size:].contiguous()
            kept.append(x)
        self.state["attn_state"] = tuple(kept)

    def get_seq_length(self, *args) -> int:
        """Tokens seen, padding included."""
        return self.seen

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length

    def get_mask_sizes(self, query_length) -> tuple[int, int]:
        """(length of keys, offset) for a query of that length, or of those cache positions."""
        length = query_length if isinstance(query_length, int) else query_length.shape[0]
        return self.seen + length, 0

    def _change(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._rooms = []
        if self.state is not None:
            self.state = map_tensors(self.state, change)

    def offload(self) -> None:
        held = first_tensor(self.state)
        self.device = held.device if held is not None else "cpu"
        self._change(lambda x: x.to("cpu", non_blocking=True))

    def prefetch(self) -> None:
        device = getattr(self, "device", None)
        if device is not None:
            self._change(lambda x: x.to(device, non_blocking=True))

    def reset(self) -> None:
        self.state, self.seen, self.lengths, self.is_initialized = None, 0, 0, False
        self._rooms = []

    def _rows(self, choose: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._change(choose)
        if isinstance(self.lengths, torch.Tensor):
            self.lengths = choose(self.lengths)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Rows in another order: beam search."""
        self._rows(lambda x: x.index_select(0, beam_idx.to(x.device)))

    batch_select_indices = reorder_cache

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._rows(lambda x: x.repeat_interleave(repeats, dim=0))

    def crop(self, *args) -> None:
        raise NotImplementedError("a recurrent state cannot forget its last tokens: generation that drafts tokens and "
                                  "takes them back (assisted or contrastive) is not supported")


class FLACache(HFCache):
    """The states of all layers of a model.

    ``cache[i]`` is layer i's dictionary, with the keys recurrent_state,
    attn_state, conv_state and ffn_state; a recurrent state is [N, H, K, V].
    """

    is_compileable = False

    def __init__(self, seen_tokens: int = 0, **kwargs):
        super().__init__(layer_class_to_replicate=FLALayer, **kwargs)
        self._first_seen = int(seen_tokens)

    def _layer(self, layer_idx: int) -> FLALayer:
        while len(self.layers) <= layer_idx:
            layer = FLALayer()
            layer.seen = layer.lengths = self._first_seen
            self.layers.append(layer)
        return self.layers[layer_idx]

    def update(self, recurrent_state=None, attn_state=None, conv_state=None, ffn_state=None, layer_idx: int = 0,
               offset: int | None = 1, cache_kwargs: dict | None = None, A_state=None, lengths=None) -> dict[str, Any]:
        """Keeps states of layer `layer_idx` after `offset` tokens; returns all that it has. See FLALayer.update."""
        return self._layer(layer_idx).update(
            recurrent_state=recurrent_state, attn_state=attn_state, conv_state=conv_state, ffn_state=ffn_state,
            A_state=A_state, offset=offset, lengths=lengths, cache_kwargs=cache_kwargs)

    def __getitem__(self, layer_idx: int) -> dict[str, Any]:
        if layer_idx >= len(self.layers):
            raise KeyError(f"Cache only has {len(self.layers)} layers, attempted to access layer with index "
                           f"{layer_idx}")
        return self.layers[layer_idx].state

    def __iter__(self):
        return (layer.state for layer in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def get_seq_length(self, layer_idx: int | None = 0, *args) -> int:
        """Tokens that a layer has seen, padding included."""
        index = layer_idx or 0
        return self.layers[index].seen if index < len(self.layers) else 0

    def get_lengths(self, layer_idx: int):
        """Real tokens of each row: an int where rows had none but real ones, else a tensor [N]."""
        return self.layers[layer_idx].lengths if layer_idx < len(self.layers) else 0

    def get_max_length(self, *args) -> int:
        return -1

    get_max_cache_shape = get_max_length

    def get_mask_sizes(self, query_length, layer_idx: int = 0) -> tuple[int, int]:
        return self._layer(layer_idx).get_mask_sizes(query_length)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        for layer in self.layers:
            layer.reorder_cache(beam_idx)

    def reset(self) -> None:
        for layer in self.layers:
            layer.reset()

    def to_legacy_cache(self) -> tuple[dict[str, Any], ...]:
        return tuple(self)

    @classmethod
    def from_legacy_cache(cls, past_key_values=None, seen_tokens: int = 0, **kwargs) -> "FLACache":
        """A cache from a tuple of layers' dictionaries, or an empty one from None."""
        cache = cls(seen_tokens=seen_tokens, **kwargs)
        for i, state in enumerate(past_key_values if isinstance(past_key_values, (tuple, list)) else ()):
            cache._layer(i).state = {**dict.fromkeys(KEYS), **state}
        return cache


class Cache(FLACache):
    """The cache of this package's models."""


class FLAGenerationMixin(GenerationMixin):
    """``generate`` with a cache that the model makes itself.

    Works with every release of transformers from 4.56 on, whatever it calls the
    cache (past_key_values, later cache).
    """

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.LongTensor | None = None,
        past_key_values=None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool = True,
        logits_to_keep: int | None = None,
        cache_position: torch.LongTensor | None = None,
        cache=None,
        next_sequence_length: int | None = None,
        num_logits_to_keep: int | None = None,
        **kwargs,
    ) -> dict[str, Any]:
        """The arguments of the next forward: the tokens that the cache has not seen, and the cache."""
        past = past_key_values if past_key_values is not None else cache
        seen = past.get_seq_length() if past is not None else 0
        inputs = {"input_ids": None, "inputs_embeds": None, "past_key_values": past, "use_cache": use_cache,
                  "attention_mask": attention_mask}
        if inputs_embeds is not None and seen == 0:
            inputs["inputs_embeds"] = inputs_embeds
        else:
            new = next_sequence_length
            if new is None and seen > 0:
                new = input_ids.shape[1] - seen if input_ids.shape[1] > seen else 1
                if cache_position is not None:
                    new = min(cache_position.shape[0], input_ids.shape[1])
            inputs["input_ids"] = (input_ids if new is None else input_ids[:, -new:]).contiguous()
        keep = logits_to_keep if logits_to_keep is not None else num_logits_to_keep
        if keep is not None:
            inputs["logits_to_keep"] = keep
        return inputs


class FLAUnsupportedCacheGenerationMixin(FLAGenerationMixin):
    """The same, under the name that models whose caches do not support every strategy had."""
