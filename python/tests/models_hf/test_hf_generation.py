"""generate() of transformers with our caches."""
import pytest
import torch
from hf_small import KINDS, cache_of, small, tokens

NEW = 5


def generate(model, ids, **options):
    options = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "pad_token_id": 0,
               "attention_mask": torch.ones_like(ids), **options}
    return model.generate(ids, **options)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_greedy_generation_is_the_argmax_of_the_full_forward(kind):
    model, ids = small(kind), tokens(2, 7)
    got, want = generate(model, ids), ids
    for _ in range(NEW):
        want = torch.cat([want, model(want, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_beams_with_and_without_a_cache_agree(kind):
    model, ids = small(kind), tokens(2, 7)
    assert generate(model, ids, num_beams=3).tolist() == generate(model, ids, num_beams=3, use_cache=False).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_batch_generates_what_its_rows_do(kind):
    model, ids, lengths = small(kind), tokens(3, 9), [9, 4, 6]
    padded, mask = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 9, dtype=torch.long)
    for row, n in enumerate(lengths):
        padded[row, 9 - n:], mask[row, 9 - n:] = ids[row, :n], 1
    together = generate(model, padded, attention_mask=mask)[:, 9:]
    for row, n in enumerate(lengths):
        assert together[row].tolist() == generate(model, ids[row:row + 1, :n])[0, n:].tolist()


@pytest.mark.parametrize("kind", ["gla", "mamba", "samba"])
def test_generation_continues_a_cache(kind):
    model, ids = small(kind), tokens(1, 9)
    with torch.no_grad():
        past = cache_of(model(ids[:, :6], use_cache=True))
    assert generate(model, ids, past_key_values=past).tolist() == generate(model, ids).tolist()


def test_generation_from_embeddings():
    model, ids = small("gla"), tokens(1, 6)
    embeddings = model.get_input_embeddings()(ids)
    got = model.generate(inputs_embeds=embeddings, attention_mask=torch.ones_like(ids), max_new_tokens=NEW,
                         do_sample=False, eos_token_id=None, pad_token_id=0)
    assert got[0].tolist()[-NEW:] == generate(model, ids)[0, 6:].tolist()


def test_sampling_gives_tokens():
    model, ids = small("gated_deltanet"), tokens(2, 6)
    assert generate(model, ids, do_sample=True, top_k=5, num_return_sequences=2).shape == (4, 6 + NEW)


def test_drafts_are_refused_with_a_reason():
    """A recurrent state cannot take tokens back."""
    model, ids = small("gla"), tokens(1, 6)
    with pytest.raises(ValueError, match="stateful|cropped|cache"):
        generate(model, ids, assistant_model=small("gla"))
    with torch.no_grad():
        past = cache_of(model(ids, use_cache=True))
    with pytest.raises(NotImplementedError, match="cannot forget"):
        past.layers[0].crop(1)


@torch.no_grad()
def test_only_the_last_logits_are_computed_where_asked():
    model, ids = small("gla"), tokens(2, 8)
    full = model(ids).logits
    assert torch.allclose(model(ids, logits_to_keep=3).logits, full[:, -3:], atol=1e-5)
    assert torch.allclose(model(ids, num_logits_to_keep=1).logits, full[:, -1:], atol=1e-5)
    assert model(ids, logits_to_keep=0).logits.shape == full.shape
    kept = torch.tensor([1, 4])
    assert torch.allclose(model(ids, logits_to_keep=kept).logits, full[:, kept], atol=1e-5)
