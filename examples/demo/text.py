"""The text of the demo, and what a bigram model makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

LICENCES = Path("/usr/share/common-licenses")
LEAST = 100_000


@dataclass
class Text:
    """Characters as numbers: `train` and `held_out` [n] int64, `alphabet` by number."""

    alphabet: str
    train: torch.Tensor
    held_out: torch.Tensor

    @property
    def size(self) -> int:
        return len(self.alphabet)

    def decode(self, codes) -> str:
        return "".join(self.alphabet[int(c)] for c in codes)


def read_licences(folder: Path = LICENCES) -> str:
    """The licences that every Debian machine carries, each once, in order of name.

    Raises ValueError when they are missing or short.
    """
    files = sorted(p for p in folder.glob("*") if p.is_file() and not p.is_symlink())
    characters = "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in files)
    if len(characters) < LEAST:
        raise ValueError(f"expected at least {LEAST} characters of text in {folder}, got {len(characters)}; "
                         "name a text with --text FILE")
    return characters


def split(characters: str, held_out: float = 0.1) -> Text:
    """The last part of the text is held out: neither model learns from it."""
    alphabet = "".join(sorted(set(characters)))
    number = {c: i for i, c in enumerate(alphabet)}
    codes = torch.tensor([number[c] for c in characters])
    end = int(len(codes) * (1 - held_out))
    return Text(alphabet, codes[:end], codes[end:])


def bigram_losses(text: Text, smoothing: float = 0.1) -> tuple[float, float]:
    """Nats a character of a bigram model on the text that it counted, and on the held-out text."""
    counts = torch.full((text.size, text.size), smoothing, dtype=torch.float64)
    pairs = text.train[:-1] * text.size + text.train[1:]
    counts.view(-1).index_add_(0, pairs, torch.ones(len(pairs), dtype=torch.float64))
    log_p = (counts / counts.sum(1, keepdim=True)).log()
    loss = lambda codes: -log_p[codes[:-1], codes[1:]].mean().item()
    return loss(text.train), loss(text.held_out)


def uniform_loss(text: Text) -> float:
    """Nats a character of a model that knows nothing."""
    return math.log(text.size)


def batches(text: Text, batch: int, tokens: int, seed: int):
    """Endless random windows (inputs, targets), each [batch, tokens], the same for one seed."""
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.arange(tokens + 1)
    while True:
        starts = torch.randint(len(text.train) - tokens, (batch, 1), generator=generator)
        window = text.train[starts + offsets]
        yield window[:, :-1], window[:, 1:]
