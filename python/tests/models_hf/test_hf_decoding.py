"""Prefill and token-by-token decoding give the logits of the full forward: plain, padded and packed."""
import copy

import pytest
import torch
from hf_small import KINDS, cache_of, small, tokens, tolerance

LENGTH, PROMPT = 23, 13


@torch.no_grad()
def decode(model, ids, prompt):
    """Logits of a prefill of `prompt` tokens and then one token at a time."""
    out = model(ids[:, :prompt], use_cache=True)
    logits, past = [out.logits], cache_of(out)
    for i in range(prompt, ids.shape[1]):
        out = model(ids[:, i:i + 1], past_key_values=past, use_cache=True)
        past = cache_of(out)
        logits.append(out.logits)
    return torch.cat(logits, 1), past


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_equals_the_full_forward(kind):
    model, ids = small(kind), tokens(2, LENGTH)
    with torch.no_grad():
        full = model(ids, use_cache=False).logits
    logits, past = decode(model, ids, PROMPT)
    assert (logits - full).abs().max() <= tolerance(kind)
    assert past.get_seq_length() == LENGTH and len(past) == 2


@pytest.mark.parametrize("kind", ["gla", "gated_deltanet", "mamba2", "rwkv7", "transformer"])
def test_decoding_in_bf16(kind):
    model = copy.deepcopy(small(kind)).bfloat16()
    ids = tokens(2, LENGTH)
    with torch.no_grad():
        full = model(ids, use_cache=False).logits
    logits, _ = decode(model, ids, PROMPT)
    assert (logits - full).abs().max() <= tolerance(kind, torch.bfloat16) * max(1.0, full.abs().max().item())


def rows_with_padding(ids, lengths, where):
    """(tokens, mask) of rows of these lengths, with padding on the left, the right, or inside."""
    width = max(lengths) + 2
    padded, mask = torch.zeros(len(lengths), width, dtype=torch.long), torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        places = torch.arange(length)
        if where == "left":
            places = places + width - length
        elif where == "inside":
            places[length // 2:] += width - length
        padded[row, places], mask[row, places] = ids[row, :length], 1
    return padded, mask


@pytest.mark.parametrize("where", ["left", "right", "inside"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_padding_changes_nothing(kind, where):
    """Each row equals the row alone, in the prefill and in the steps after it."""
    model, ids, lengths = small(kind), tokens(3, LENGTH), [13, 7, 10]
    alone = [model(ids[i:i + 1], use_cache=False).logits[0] for i in range(3)]
    padded, mask = rows_with_padding(ids, lengths, where)
    out = model(padded, attention_mask=mask, use_cache=True)
    for row, length in enumerate(lengths):
        got = out.logits[row, mask[row].bool()]
        assert (got - alone[row][:length]).abs().max() <= tolerance(kind)
    for step in range(4):
        new = torch.stack([ids[row, length + step] for row, length in enumerate(lengths)])[:, None]
        mask = torch.cat([mask, torch.ones(3, 1, dtype=torch.long)], 1)
        out = model(new, attention_mask=mask, past_key_values=cache_of(out), use_cache=True)
        for row, length in enumerate(lengths):
            assert (out.logits[row, 0] - alone[row][length + step]).abs().max() <= tolerance(kind)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_packed_sequences_are_apart(kind):
    """cu_seqlens gives what the sequences give alone, decoding included; a mask beside it is ignored."""
    model, lengths = small(kind), [9, 1, 13]
    ids = [tokens(1, n) for n in lengths]
    more = tokens(3, 2)
    alone = [model(torch.cat([i, m[None]], 1), use_cache=False).logits[0] for i, m in zip(ids, more)]
    cu_seqlens = torch.tensor([0, 9, 10, 23], dtype=torch.int32)
    out = model(torch.cat(ids, 1), cu_seqlens=cu_seqlens, use_cache=True, attention_mask=torch.zeros(1, 23))
    for got, want, n in zip(out.logits[0].split(lengths), alone, lengths):
        assert (got - want[:n]).abs().max() <= tolerance(kind)
    for step in range(2):
        out = model(more[:, step][None], cu_seqlens=torch.arange(4, dtype=torch.int32),
                    past_key_values=cache_of(out), use_cache=True)
        for row, n in enumerate(lengths):
            assert (out.logits[0, row] - alone[row][n + step]).abs().max() <= tolerance(kind)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_prefill_in_parts(kind):
    """A second part of several tokens continues where the first one ended."""
    model, ids = small(kind), tokens(2, LENGTH)
    full = model(ids, use_cache=False).logits
    out = model(ids[:, :5], use_cache=True)
    parts = [out.logits]
    for a, b in ((5, 6), (6, 19), (19, LENGTH)):
        out = model(ids[:, a:b], past_key_values=cache_of(out), use_cache=True)
        parts.append(out.logits)
    assert (torch.cat(parts, 1) - full).abs().max() <= tolerance(kind)


@pytest.mark.parametrize("kind", ["gla", "hgrn", "mamba", "transformer"])
def test_a_batch_with_cu_seqlens_is_refused(kind):
    with pytest.raises(ValueError, match="batch of one with cu_seqlens"):
        small(kind)(tokens(2, 8), cu_seqlens=torch.tensor([0, 8, 16]))


@pytest.mark.parametrize("kind", ["gla", "samba"])
def test_a_mask_of_three_axes_is_refused(kind):
    with pytest.raises(AssertionError, match="0-1 matrix"):
        small(kind)(tokens(2, 8), attention_mask=torch.ones(2, 8, 8))
