"""The cache itself."""
import pytest
import torch
from hf_small import cache_of, small, tokens

from fla.models.utils import Cache, FLACache


def test_states_are_kept_under_their_names():
    cache = Cache()
    assert len(cache) == 0 and cache.get_seq_length() == 0
    state = cache.update(recurrent_state=torch.ones(2, 3), layer_idx=1, offset=5)
    assert len(cache) == 2 and cache[1] is state and cache[0] is None
    assert cache.get_seq_length(1) == 5 and cache.get_seq_length(0) == 0
    cache.update(conv_state=(torch.ones(2, 1),), layer_idx=1, offset=0)
    assert cache[1]["recurrent_state"].shape == (2, 3) and cache.get_seq_length(1) == 5
    with pytest.raises(KeyError, match="2 layers"):
        cache[2]
    with pytest.raises(ValueError, match="tuple"):
        cache.update(attn_state=torch.ones(2, 1, 4), layer_idx=0)
    cache.reset()
    assert cache[1] is None and cache.get_seq_length(1) == 0


def test_keys_and_values_roll_in_their_window():
    cache, keys = Cache(), torch.arange(12.0).view(1, 12, 1)
    for a, b in ((0, 3), (3, 4), (4, 10), (10, 12)):
        cache.update(attn_state=(keys[:, a:b], keys[:, a:b]), layer_idx=0, offset=b - a,
                     cache_kwargs={"window_size": 4})
        assert cache[0]["attn_state"][0].flatten().tolist() == keys[0, max(0, b - 4):b].flatten().tolist()
    assert cache.get_seq_length(0) == 12


def test_real_tokens_stand_on_the_right():
    cache, x = Cache(), torch.arange(1.0, 9.0).view(2, 4, 1)
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1]]).bool()
    cache.update(attn_state=(x, x), layer_idx=0, offset=4, lengths=mask.sum(-1), cache_kwargs={"mask": mask})
    assert cache[0]["attn_state"][0][..., 0].tolist() == [[3, 4, 1, 2], [5, 6, 7, 8]]
    assert cache.get_lengths(0).tolist() == [2, 3] and cache.get_seq_length(0) == 4


def test_rows_are_reordered_repeated_and_chosen():
    cache = Cache()
    cache.update(recurrent_state=(torch.arange(3.0)[:, None], None), layer_idx=0, offset=1,
                 lengths=torch.tensor([1, 2, 3]))
    cache.reorder_cache(torch.tensor([2, 0, 1]))
    assert cache[0]["recurrent_state"][0].flatten().tolist() == [2, 0, 1] and cache.get_lengths(0).tolist() == [3, 1, 2]
    cache.batch_repeat_interleave(2)
    assert cache[0]["recurrent_state"][0].flatten().tolist() == [2, 2, 0, 0, 1, 1]
    cache.batch_select_indices(torch.tensor([0, 5]))
    assert cache[0]["recurrent_state"][0].flatten().tolist() == [2, 1]


@torch.no_grad()
def test_a_cache_from_dictionaries():
    model, ids = small("gla"), tokens(1, 7)
    past = cache_of(model(ids[:, :5], use_cache=True))
    again = FLACache.from_legacy_cache(past.to_legacy_cache(), seen_tokens=5)
    again = Cache.from_legacy_cache(again.to_legacy_cache(), seen_tokens=5)
    a = model(ids[:, 5:], past_key_values=past, use_cache=True).logits
    b = model(ids[:, 5:], past_key_values=again, use_cache=True).logits
    assert torch.equal(a, b)


def test_a_layer_without_an_index_refuses_a_cache():
    from fla.layers import GatedLinearAttention
    layer = GatedLinearAttention(hidden_size=64)
    with pytest.raises(ValueError, match="requires `layer_idx`"):
        layer(torch.randn(1, 4, 64), past_key_values=Cache(), use_cache=True)
