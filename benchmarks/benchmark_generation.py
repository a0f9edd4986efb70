"""How long a model takes for a prompt and the tokens after it.

    python -m benchmarks.benchmark_generation --path FOLDER --prompt "Hello everyone" --maxlen 64
    python -m benchmarks.benchmark_generation --name gla --num_hidden_layers 2

--path is a checkpoint's folder (or a name on the hub, where that is reached); --name a kind
of model with random weights, without a tokenizer: its tokens are bytes. The prompt is
--prompt, or the beginning of --data, a text file or a dataset's name.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the folder of benchmarks, however this file is run

from models import add_sizes, chosen_model  # noqa: E402
from timing import finish  # noqa: E402

TEXT = Path(__file__).resolve().parents[1] / "LICENSE"


class Bytes:
    """In place of a tokenizer: a token is a byte."""

    bos_token_id = eos_token_id = 0

    def __call__(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: list[int]) -> str:
        return bytes(t for t in tokens if t < 256).decode(errors="replace")


class Pretrained:
    """A checkpoint's tokenizer, in the same form."""

    def __init__(self, path: str):
        import fla.models  # noqa: F401  the tokenizer is looked up by the model's configuration
        from transformers import AutoTokenizer
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.eos_token_id = self.tokenizer.eos_token_id

    def __call__(self, text: str) -> list[int]:
        return self.tokenizer(text).input_ids

    def decode(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, skip_special_tokens=True)


def tokenizer_of(path: str | None):
    """The checkpoint's tokenizer; bytes where a folder has none."""
    if path is None or Path(path).is_dir() and not any(Path(path).glob("tokenizer*")):
        return Bytes()
    return Pretrained(path)


def text_of(data: str) -> str:
    """A file's text, or the first text of a dataset."""
    if Path(data).is_file():
        return Path(data).read_text(errors="replace")
    try:
        from datasets import load_dataset
    except ImportError:
        raise SystemExit(f"--data: expected a text file, or a dataset's name and the package datasets installed, got {data!r}") from None
    return load_dataset(data, split="train")[0]["text"]


def prompt_tokens(given, tokenizer, vocabulary: int) -> torch.Tensor:
    """[batch_size, at most `length`]; a prompt that was given is taken whole."""
    ids = tokenizer(given.prompt) if given.prompt else tokenizer(text_of(given.data))[:given.length]
    ids = [t % vocabulary for t in ids]
    return torch.tensor([ids] * given.batch_size, device=given.device)


def options(given, tokenizer) -> dict:
    """Arguments of generate(); it goes on to maxlen whatever the tokens are."""
    sampling = dict(do_sample=True, temperature=given.temperature, top_p=given.topp) if given.temperature > 0 else dict(do_sample=False)
    return dict(use_cache=not given.no_cache, eos_token_id=None, pad_token_id=tokenizer.eos_token_id or 0,
                repetition_penalty=given.repetition_penalty, **sampling)


@torch.inference_mode()
def timed(model, ids: torch.Tensor, tokens: int, given, **more) -> tuple[torch.Tensor, float]:
    """(tokens [batch_size, prompt + new], seconds)."""
    finish(given.device)
    begin = time.perf_counter()
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, **more)
    finish(given.device)
    return out, time.perf_counter() - begin


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", help="a checkpoint")
    parser.add_argument("--prompt", help="the text to begin with")
    parser.add_argument("--data", default=str(TEXT), help="where the prompt comes from (default: the licence)")
    parser.add_argument("--length", type=int, default=128, help="tokens of --data in the prompt")
    parser.add_argument("--maxlen", type=int, default=256, help="tokens to generate")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--no-cache", action="store_true", help="compute the whole text for every token")
    parser.add_argument("--temperature", type=float, default=0.5, help="0 takes the likeliest token")
    parser.add_argument("--topp", type=float, default=0.2)
    parser.add_argument("--repetition_penalty", type=float, default=1.1)
    parser.add_argument("--output-generation", action="store_true", help="print the text of --data and what follows, too")
    add_sizes(parser)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.manual_seed(0)
    model, tokenizer = chosen_model(given).eval(), tokenizer_of(given.path)
    ids, more = prompt_tokens(given, tokenizer, model.config.vocab_size), options(given, tokenizer)
    _, first = timed(model, ids, 2, given, **more)
    out, seconds = timed(model, ids, given.maxlen, given, **more)
    if given.prompt or given.output_generation:
        print(f"Prompt:\n{tokenizer.decode(ids[0].tolist())}\nGenerated:\n{tokenizer.decode(out[0].tolist())}\n")
    new = out.shape[1] - ids.shape[1]
    print(f"Prompt length: {ids.shape[1]}, generation length: {new}")
    print(f"Total prompt processing + decoding time: {1e3 * seconds:.0f}ms")
    print(f"{given.batch_size * new / seconds:.1f} tokens/s, {1e3 * seconds / new:.2f} ms a token; a first call of 2 tokens: {1e3 * first:.0f}ms")


if __name__ == "__main__":
    main()
