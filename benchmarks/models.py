"""Models of any kind and size with random weights, for benchmarks."""

from __future__ import annotations

import torch

__all__ = ["add_sizes", "chosen_model", "configuration", "kinds", "make", "wake"]


def kinds() -> list[str]:
    """The models' types: abc, bitnet, comba, ..."""
    import fla.models
    return list(fla.models.MODELS)


def configuration(kind: str, hidden_size: int | None = None, num_heads: int | None = None, num_layers: int | None = None,
                  vocab_size: int | None = None, **more):
    """The configuration of a kind. What is None stays as its class has it; heads have hidden_size / num_heads."""
    import fla.models
    if kind not in fla.models.MODELS:
        raise ValueError(f"name: expected one of {', '.join(fla.models.MODELS)}, got {kind!r}")
    kind_of = getattr(fla.models, f"{fla.models.MODELS[kind]}Config")
    known = kind_of.defaults
    sizes = {"hidden_size": hidden_size, "num_hidden_layers": num_layers, "vocab_size": vocab_size}
    if num_heads is not None:
        width = (hidden_size or known["hidden_size"]) // num_heads
        sizes.update(_heads(kind, known, num_heads, width, num_layers or known["num_hidden_layers"]))
    return kind_of(**{name: value for name, value in {**sizes, **more}.items() if value is not None})


def _heads(kind: str, known: dict, heads: int, width: int, layers: int) -> dict:
    """What a kind calls its number of heads and their width."""
    sizes = {}
    if known.get("num_heads") is not None:  # else it follows from the width
        sizes["num_heads"] = heads
    for name in ("head_dim", "expand_ratio"):
        if known.get(name, 1) != 1:  # HGRN's ratio is one of widths
            sizes[name] = width
    if kind == "samba":
        sizes["attn"] = {**known["attn"], "layers": list(range(1, layers, 2)), "num_heads": heads, "num_kv_heads": heads}
    if kind == "rodimus":
        sizes["ska_attn"] = {"num_heads": heads}
    return sizes


def wake(model):
    """Values for parameters that start at zero, so that every path carries something."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    return model


def make(config, seed: int = 0):
    """A causal model of random weights in float32 on the CPU, the same for a seed."""
    from transformers import AutoModelForCausalLM
    torch.manual_seed(seed)
    return wake(AutoModelForCausalLM.from_config(config))


# Of the command lines: what a model is when there is no GPU and no size is given.
SMALL = dict(hidden_size=256, num_heads=4, num_hidden_layers=4)


def add_sizes(parser, name: str = "gla") -> None:
    """Arguments that say which model: its kind, sizes, device and whether it is compiled."""
    parser.add_argument("--name", default=name, help=f"the kind of a model with random weights, as fla.models has them (default: {name})")
    parser.add_argument("--hidden_size", type=int)
    parser.add_argument("--num_heads", type=int)
    parser.add_argument("--head_dim", type=int, help="hidden_size is num_heads of them")
    parser.add_argument("--num_hidden_layers", type=int)
    parser.add_argument("--vocab_size", type=int)
    parser.add_argument("--compile", action="store_true", help="torch.compile the forward")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")


def _chosen_configuration(given):
    """By --name and the sizes: on a CPU small ones where none is given."""
    small = SMALL if given.device == "cpu" else {}
    heads = given.num_heads or small.get("num_heads")
    if given.head_dim and not heads:
        raise SystemExit("--head_dim: expected --num_heads beside it")
    hidden = heads * given.head_dim if given.head_dim else given.hidden_size or small.get("hidden_size")
    layers = given.num_hidden_layers or small.get("num_hidden_layers")
    try:
        return configuration(given.name, hidden, heads, layers, given.vocab_size)
    except ValueError as error:
        raise SystemExit(f"--name or its sizes: {error}") from None


def chosen_model(given):
    """The model of --path, or random weights of --name; bf16 on a GPU, fp32 on a CPU."""
    import fla.models  # noqa: F401  the auto classes know its models
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(given.path) if given.path else make(_chosen_configuration(given))
    model = model.to(given.device, torch.bfloat16 if given.device == "cuda" else torch.float32)
    if given.compile:
        model.forward = torch.compile(model.forward)
    return model
