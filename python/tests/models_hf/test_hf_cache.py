"""The cache itself."""
import copy

import pytest
import torch
from hf_small import cache_of, small, tokens

from fla.layers import Attention
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


def grown(tokens: int, cache, x, a: int = 0):
    """A cache that is given x [B, T, D] token by token, from token a on; its keys."""
    for t in range(a, tokens):
        cache.update(attn_state=(x[:, t:t + 1], x[:, t:t + 1]), layer_idx=0, offset=1)
    return cache[0]["attn_state"][0]


def test_keys_and_values_grow_in_place():
    x, cache = torch.randn(2, 60, 3), Cache()
    early = grown(5, cache, x)
    before = grown(30, cache, x, 5)
    after = grown(31, cache, x, 30)
    assert torch.equal(before, x[:, :30]) and torch.equal(after, x[:, :31]) and torch.equal(early, x[:, :5])
    assert after.untyped_storage().data_ptr() == before.untyped_storage().data_ptr()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_two_ways_on_from_one_cache(copied):
    """Two continuations of the same tokens do not write into each other's."""
    x, y, cache = torch.randn(2, 20, 3), torch.randn(2, 20, 3), Cache()
    grown(10, cache, x)
    other = copied(cache)
    other.layers = [copied(layer) for layer in other.layers]
    for layer in other.layers:
        layer.state = dict(layer.state)
    assert torch.equal(grown(20, cache, x, 10), x)
    assert torch.equal(grown(20, other, y, 10), torch.cat((x[:, :10], y[:, 10:]), 1))
    assert torch.equal(cache[0]["attn_state"][0], x)


def test_rows_chosen_and_tokens_that_do_not_fit():
    x, cache = torch.randn(3, 20, 2), Cache()
    grown(10, cache, x)
    cache.reorder_cache(torch.tensor([2, 0, 0]))
    x = x[[2, 0, 0]]
    assert torch.equal(grown(12, cache, x, 10), x[:, :12])
    with pytest.raises(RuntimeError, match="[Ss]izes of tensors must match"):
        cache.update(attn_state=(x[:1, :1], x[:1, :1]), layer_idx=0)
    with torch.inference_mode():
        assert torch.equal(grown(15, cache, x, 12), x[:, :15])
    assert torch.equal(grown(16, cache, x, 15), x[:, :16])


def test_gradients_of_what_has_grown():
    x, d = torch.randn(2, 40, 3, requires_grad=True), torch.randn(2, 40, 3)
    cache, total = Cache(), 0
    for t in range(40):
        keys = grown(t + 1, cache, x, t)
        total = total + (keys.square() * d[:, :t + 1]).sum()      # square keeps the keys
    weights = d * torch.arange(40, 0, -1.0)[:, None]
    torch.testing.assert_close(torch.autograd.grad(total, x)[0], 2 * x.detach() * weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
@pytest.mark.parametrize("padded", [False, True])
def test_decoding_with_gradients_keeps_one_room(padded, dtype):
    """What autograd keeps of a step does not grow with the tokens before it."""
    layer, cache, x = Attention(32, 2, layer_idx=0).to(dtype), Cache(), torch.randn(2, 120, 32, dtype=dtype)
    mask = torch.ones(2, 100, dtype=torch.bool)
    mask[0, :30 * padded] = False
    layer(x[:, :100], mask, cache, use_cache=True)
    kept, weights = {}, {p.data_ptr() for p in layer.parameters()}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        for t in range(100, 120):
            layer(x[:, t:t + 1], None, cache, use_cache=True)
    large = {at for at, t in kept.items() if t.untyped_storage().nbytes() >= x.nbytes // 2} - weights
    # Keys and values, of all steps, and the tables of cosines and sines. In float16 a CPU's
    # attention is computed again on the way back, from the same keys and values.
    assert len(large) <= 4


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
