"""The tour of `make demo`: check, mistake, training, time.

    python examples/demo/demo.py [--seconds 60] [--text FILE] [--plot build/demo/loss.png]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "benchmarks")]

import torch  # noqa: E402

import fla.lang  # noqa: E402
from model import LanguageModel, generate  # noqa: E402
from plot import save_losses  # noqa: E402
from text import Text, bigram_losses, read_licences, split, uniform_loss  # noqa: E402
from training import History, Plan, held_out_loss, train  # noqa: E402


def title(number: int, words: str) -> None:
    print(f"\n{number}. {words}\n", flush=True)


def check_library() -> bool:
    """Every phase of a definition of the library against the float64 recurrence."""
    title(1, "A definition of the library, lib/Models/gated_delta_rule.mlir: every phase against the recurrence")
    tool = ROOT / "build" / "bin" / "fla-check"
    return subprocess.run([tool, "--quick", ROOT / "lib" / "Models" / "gated_delta_rule.mlir"]).returncode == 0


def check_python() -> bool:
    """The same for a step written in Python."""
    from steps import doubly_gated_delta
    title(2, "A definition written in Python (examples/demo/steps.py), compiled and checked the same way")
    print(doubly_gated_delta, end="\n\n", flush=True)
    return bool(doubly_gated_delta.check())


def show_mistake() -> bool:
    """A step that no chunk form exists for: the compiler says which line, and why."""
    from steps import quadratic
    title(3, "A mistake: a write that is quadratic in the state")
    try:
        quadratic.mlir("normalize")
    except fla.lang.DefinitionError as error:
        print(error)
        return True
    print("expected a diagnostic, got none")
    return False


def train_model(text: Text, seconds: float, plot: Path) -> bool:
    """A character-level language model on the compiled operator, against a bigram model."""
    title(4, f"Training a language model of two gated-delta-rule layers for {seconds:.0f} s")
    model, plan = LanguageModel(text.size), Plan()
    print(f"  {sum(p.numel() for p in model.parameters()):,} parameters; {len(text.train):,} characters to learn "
          f"from, {len(text.held_out):,} held out, {text.size} different; {torch.get_num_threads()} threads", flush=True)
    history = train(model, text, seconds, plan)
    return report_training(model, text, history, plan, plot)


def report_training(model: LanguageModel, text: Text, history: History, plan: Plan, plot: Path) -> bool:
    losses = history.losses
    marks = sorted({min(int(len(losses) * i / 5), len(losses) - 1) for i in range(6)})
    print("  loss by step:", ", ".join(f"{i + 1}: {losses[i]:.3f}" for i in marks))
    print(f"  {len(losses)} steps, {history.tokens / history.seconds:,.0f} tokens/s")
    last = losses[-max(1, min(50, len(losses) // 5)):]
    seen, held_out, bigram = sum(last) / len(last), held_out_loss(model, text), bigram_losses(text)
    print(f"  nats a character         this model   bigram model   (knowing nothing: {uniform_loss(text):.2f})")
    print(f"    text learned from   {seen:12.3f}   {bigram[0]:12.3f}")
    print(f"    held-out text       {held_out:12.3f}   {bigram[1]:12.3f}")
    save_losses(plot, losses, bigram[0], plan.batch * plan.tokens)
    show_sample(model, text)
    print(f"\n  loss plot: {plot}")
    return seen < bigram[0] and held_out < bigram[1]


def show_sample(model: LanguageModel, text: Text, prompt: str = "The license ") -> None:
    """Generated with the recurrent form: one token a call, states carried."""
    codes = torch.tensor([text.alphabet.index(c) for c in prompt if c in text.alphabet])
    sample = prompt + text.decode(generate(model, codes, 400))
    print("  a sample, generated token by token:\n")
    print("\n".join(f"    | {line}" for line in sample.splitlines()))


def compare_time(tokens: int, rounds: int) -> None:
    """The compiled operators against eager PyTorch, in one alternating run."""
    import eager_chunks
    title(5, "Time against the eager chunk algorithm (transformers' torch_chunk_gated_delta_rule)")
    rule = eager_chunks.rules()[0]
    print("\n".join(eager_chunks.report(rule, eager_chunks.measure(rule, tokens, 8, rounds), tokens, 8)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="time to train for (default 60)")
    parser.add_argument("--text", type=Path, help="text to learn instead of Debian's licences")
    parser.add_argument("--plot", type=Path, default=ROOT / "build" / "demo" / "loss.png")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    text = split(given.text.read_text(encoding="utf-8") if given.text else read_licences())
    results = {"library definition": check_library(), "Python definition": check_python(),
               "diagnostic": show_mistake(), "training beats the bigram model": train_model(text, given.seconds, given.plot)}
    compare_time(2048, 3)
    print()
    for name, passed in results.items():
        print(f"  {'pass' if passed else 'FAIL'}  {name}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
