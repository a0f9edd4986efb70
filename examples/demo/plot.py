"""The loss plot."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402


def running_mean(values, width: int = 20):
    return [sum(values[max(0, i - width + 1):i + 1]) / min(i + 1, width) for i in range(len(values))]


def save_losses(path: Path, losses: list[float], bigram: float, tokens_a_step: int) -> None:
    """Loss of each step, its running mean and the bigram model's loss, as a PNG."""
    characters = [i * tokens_a_step / 1e6 for i in range(1, len(losses) + 1)]
    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
    axes.plot(characters, losses, color="#9ecae1", linewidth=0.8, label="each step")
    axes.plot(characters, running_mean(losses), color="#08519c", label="mean of 20 steps")
    axes.axhline(bigram, color="#d95f0e", linestyle="--", label=f"bigram model, {bigram:.2f}")
    axes.set(xlabel="characters seen (millions)", ylabel="training loss (nats a character)",
             title="Two gated-delta-rule layers, character by character", ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
