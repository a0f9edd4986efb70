"""The demo's model: the operator trains as the token loop does, and learns more than a bigram."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import fla.lang  # noqa: E402
from model import LanguageModel, Size, generate, token_loop  # noqa: E402
from plot import save_losses  # noqa: E402
from steps import doubly_gated_delta, quadratic  # noqa: E402
from text import bigram_losses, read_licences, split, uniform_loss  # noqa: E402
from training import Plan, first_losses, held_out_loss, train  # noqa: E402

SMALL = Plan(batch=1, tokens=70)


@pytest.fixture(autouse=True)
def one_thread():
    """Small sizes: a second thread would only wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def text():
    return split(read_licences())


def largest_difference(text, plan: Plan) -> float:
    compiled = first_losses(LanguageModel(text.size), text, 20, plan)
    eager = first_losses(LanguageModel(text.size, rule=token_loop), text, 20, plan)
    assert len(compiled) == 20
    return max(abs(a - b) for a, b in zip(compiled, eager))


def test_first_losses_match_the_token_loop(text):
    assert largest_difference(text, SMALL) < 1e-3


@pytest.mark.long
def test_first_losses_match_the_token_loop_at_the_demo_s_size(text):
    assert largest_difference(text, Plan()) < 1e-3


def test_text_is_long_enough(text):
    assert len(text.train) + len(text.held_out) >= 100_000
    assert text.decode(text.train[:200]) == read_licences()[:200]


def test_bigram_lies_between_knowing_nothing_and_the_text(text):
    seen, held_out = bigram_losses(text)
    assert 1.0 < seen < held_out < uniform_loss(text)


def test_a_short_training_beats_the_bigram_model_of_a_simple_text(tmp_path):
    # Each line repeats its first word: a bigram model cannot know which one.
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "omega", "sigma", "lambda"]
    picks = torch.randint(len(words), (6000,), generator=torch.Generator().manual_seed(0)).tolist()
    text = split("\n".join(f"{words[i]} {words[i]} {words[i]}" for i in picks))
    model = LanguageModel(text.size, Size(width=32, heads=2))
    history = train(model, text, 600, Plan(batch=4, tokens=64), show=False, most_steps=150)
    assert held_out_loss(model, text) < bigram_losses(text)[1]
    save_losses(tmp_path / "loss.png", history.losses, bigram_losses(text)[0], 256)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@torch.no_grad()
def test_generation_with_carried_states_is_the_whole_call(text):
    model, codes = LanguageModel(text.size), text.train[None, :50]
    states, rows = model.start(1), []
    for t in range(codes.shape[1]):
        logits, states = model(codes[:, t:t + 1], states)
        rows.append(logits)
    torch.testing.assert_close(torch.cat(rows, 1), model(codes)[0], rtol=1e-3, atol=1e-4)
    assert len(generate(model, codes[0, :10], 5)) == 5


def test_the_mistake_is_refused_at_its_line():
    line = Path(__file__).with_name("steps.py").read_text().splitlines().index(
        "    S = exp(g) * S + outer(k, error * error)") + 1
    with pytest.raises(fla.lang.DefinitionError) as error:
        quadratic.mlir("normalize")
    assert f"steps.py:{line}" in str(error.value)


def test_the_step_of_the_demo_has_a_class():
    assert "solve rank 1" in repr(doubly_gated_delta)
