"""Reads the signature of a library definition from its text.

Only what a test needs to make inputs: for each state and argument its name, its
dimensions and its attributes. A deliberately small reader, independent of the
compiler's parser; it understands the spelling that lib/Models uses.
"""
import re
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).resolve().parents[3] / "lib" / "Models"
STEMS = sorted(path.stem for path in MODELS.glob("*.mlir"))


@dataclass(frozen=True)
class Argument:
    name: str
    dims: tuple
    attrs: dict

    @property
    def is_param(self):
        return "param" in self.attrs

    @property
    def is_value(self):
        return "value" in self.attrs

    @property
    def is_gate(self):
        """A natural log of a decay: not positive, without a lower end."""
        return self.attrs.get("max") == 0.0 and "min" not in self.attrs and not self.is_value


@dataclass(frozen=True)
class Signature:
    name: str
    states: tuple
    arguments: tuple


def _attributes(text):
    attrs = {}
    for item in filter(None, (part.strip() for part in (text or "").split(","))):
        key, _, value = item.partition("=")
        value = value.split(":")[0].strip()
        attrs[key.strip()] = float("-inf") if value.startswith("0xFFF") else float(value) if value else True
    return attrs


def _arguments(text, aliases):
    pattern = r"%(\w+)\s*:\s*(f64|!\w+)\s*(?:\{([^}]*)\})?"
    return tuple(Argument(name, aliases.get(kind, ()), _attributes(attrs)) for name, kind, attrs in re.findall(pattern, text))


def _dims(text):
    return tuple(name.strip().strip('"') for name in text.split(","))


def read(stem):
    """The `Signature` of `lib/Models/<stem>.mlir`."""
    text = (MODELS / f"{stem}.mlir").read_text()
    aliases = {name: _dims(dims) for name, dims in re.findall(r"^(!\w+) = tensor<[?x]+f64, #fla\.dims<([^>]*)>>", text, re.M)}
    name, states, arguments = re.search(r"fla\.recurrence @(\w+) state\((.*?)\) \((.*?)\) \{\n", text, re.S).groups()
    return Signature(name, _arguments(states, aliases), _arguments(arguments, aliases))
