"""What the configurations have in common.

A configuration is a table of keys with their defaults, and what follows from
them in ``settle``:

    class GLAConfig(FLAConfig):
        model_type = "gla"
        defaults = dict(hidden_size=2048, expand_k=0.5, ...)
"""

from __future__ import annotations

import inspect

from transformers.configuration_utils import PretrainedConfig

from .hybrid import HybridAttention

__all__ = ["FLAConfig", "COMMON"]

# Keys of nearly every model, at the end of its table.
COMMON = dict(
    use_cache=True, pad_token_id=None, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    initializer_range=0.02, fuse_norm=True, fuse_swiglu=True, fuse_cross_entropy=True,
    fuse_linear_cross_entropy=False, use_l2warp=False, vocab_size=32000, attnres_block_size=None,
)
# What the base class of transformers takes and keeps itself.
_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings")


def _signature(defaults: dict) -> inspect.Signature:
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, keyword, default=value) for name, value in defaults.items()]
                             + [inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])


def _make_init(defaults: dict):
    signature = _signature(defaults)

    def __init__(self, *args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments.pop("kwargs", {})
        explicit = frozenset(bound.arguments)
        self._setup({**defaults, **bound.arguments}, given, explicit)

    __init__.__signature__ = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
                                                *signature.parameters.values()])
    return __init__


class FLAConfig(HybridAttention, PretrainedConfig):
    """A configuration made from the table `defaults` of its class."""

    keys_to_ignore_at_inference = ["past_key_values"]
    defaults = {}      # not annotated: an annotation makes a field of newer configurations

    def __init_subclass__(cls, **kwargs):
        if "__init__" not in cls.__dict__:
            cls.__init__ = _make_init(cls.defaults)
        super().__init_subclass__(**kwargs)

    def _setup(self, values: dict, others: dict, explicit: frozenset) -> None:
        attn = values.pop("attn", None)
        tokens = {name: values[name] for name in _TOKENS if name in values}
        values, others = self.rename(values, dict(others), explicit)
        # Before and after: the base class reads some of them, and resets others.
        self._set(values)
        PretrainedConfig.__init__(self, **{**others, **tokens})
        self._set({**values, **tokens})
        if "attn" in self.defaults:
            self.attn = self.hybrid_default(attn, "attn" in explicit)
        self._check_losses()
        self.settle()

    def _set(self, values: dict) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def rename(self, values: dict, others: dict, explicit: frozenset) -> tuple[dict, dict]:
        """(keys, further keys), with the old names of keys that configurations on disk may have replaced."""
        return values, others

    def hybrid_default(self, attn, given: bool):
        """The `attn` to check; a model whose default depends on its depth changes it here."""
        return attn

    def settle(self) -> None:
        """Sets what follows from the keys; raises for those that contradict each other."""

    def _check_losses(self) -> None:
        if getattr(self, "fuse_cross_entropy", False) and getattr(self, "fuse_linear_cross_entropy", False):
            raise ValueError("`fuse_cross_entropy` and `fuse_linear_cross_entropy` cannot be True at the same time.")
        if getattr(self, "attnres_block_size", None) is not None:
            raise NotImplementedError("attnres_block_size: residual attention is not supported; expected None, "
                                      f"got {self.attnres_block_size!r}")
