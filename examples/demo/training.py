"""Training for a given time, with a progress bar."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from model import LanguageModel, loss_of
from text import Text, batches


@dataclass
class History:
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True)
class Plan:
    batch: int = 8
    tokens: int = 256
    rate: float = 4e-3
    warm_up: int = 20
    seed: int = 1


def optimizer_of(model: LanguageModel, plan: Plan):
    return torch.optim.AdamW(model.parameters(), lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)


def step(model, optimizer, inputs, targets, rate: float) -> float:
    """One update; returns the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = loss_of(model, inputs, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def first_losses(model: LanguageModel, text: Text, steps: int, plan: Plan = Plan()) -> list[float]:
    """Losses of the first steps, with the rates of a long training."""
    optimizer, source = optimizer_of(model, plan), batches(text, plan.batch, plan.tokens, plan.seed)
    return [step(model, optimizer, *next(source), plan.rate * min(1.0, (i + 1) / plan.warm_up)) for i in range(steps)]


def train(model: LanguageModel, text: Text, seconds: float, plan: Plan = Plan(), show: bool = True,
          most_steps: float = math.inf) -> History:
    """Trains for a time; the rate warms up, then falls along a cosine of the time left."""
    optimizer, source = optimizer_of(model, plan), batches(text, plan.batch, plan.tokens, plan.seed)
    history, begin = History(), time.perf_counter()
    form = "  train: {percentage:3.0f}%|{bar:30}| {n:.0f}/{total:.0f} s{postfix}"
    with tqdm(total=round(seconds), disable=not show, bar_format=form) as bar:
        while (elapsed := time.perf_counter() - begin) < seconds and len(history.losses) < most_steps:
            warm = min(1.0, (len(history.losses) + 1) / plan.warm_up)
            fall = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * elapsed / seconds))
            history.losses.append(step(model, optimizer, *next(source), plan.rate * warm * fall))
            history.tokens += plan.batch * plan.tokens
            history.seconds = time.perf_counter() - begin
            bar.n = min(history.seconds, bar.total)
            bar.set_postfix_str(f"loss {history.losses[-1]:.3f}, {history.tokens / history.seconds:,.0f} tokens/s",
                                refresh=False)
            bar.refresh()
    return history


@torch.no_grad()
def held_out_loss(model: LanguageModel, text: Text, tokens: int = 512) -> float:
    """Mean nats a character of the held-out text, in windows that start without memory."""
    count = (len(text.held_out) - 1) // tokens
    inputs, targets = (text.held_out[i:i + count * tokens].view(count, tokens) for i in (0, 1))
    return loss_of(model, inputs, targets).item()
