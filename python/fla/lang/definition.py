"""A definition: the text of one `fla.recurrence` and what its header says.

Definitions come from tracing or from a .mlir file; both end up here, and all
that follows (calls, inlining, equations) reads this alone.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field
from functools import cached_property

from .dimensions import canonical

__all__ = ["Argument", "Carried", "Statement", "Definition", "parse_definition"]


@dataclass(frozen=True)
class Argument:
    """An input: kind is token, param or value; attrs hold default, min, max, unit."""

    name: str
    kind: str
    dims: tuple[str, ...]
    attrs: dict = field(default_factory=dict, hash=False, compare=False)

    @property
    def optional(self) -> bool:
        return "default" in self.attrs


@dataclass(frozen=True)
class Carried:
    """A state: its dimensions and where it starts."""

    name: str
    dims: tuple[str, ...]
    init: float = 0.0


@dataclass(frozen=True)
class Statement:
    """One operation as text: ``result = rest``, and the SSA names that it reads."""

    result: str
    rest: str

    @cached_property
    def operands(self) -> tuple[str, ...]:
        return tuple(re.findall(r"%[\w$.-]+", self.rest))


@dataclass(frozen=True, eq=False)
class Definition:
    """One traced or loaded recurrence. `located` is the text with source locations."""

    name: str
    text: str
    states: tuple[Carried, ...]
    arguments: tuple[Argument, ...]
    outputs: tuple[tuple[str, ...], ...]
    body: tuple[Statement, ...]
    next_states: tuple[str, ...]
    results: tuple[str, ...]
    located: str = ""
    sizes: dict = field(default_factory=dict, hash=False, compare=False)

    # Shapes that passed the checks of a call, with what they mean.
    checked: dict = field(default_factory=dict, repr=False)

    @cached_property
    def argument_names(self) -> frozenset[str]:
        return frozenset(a.name for a in self.arguments)

    @cached_property
    def digest(self) -> str:
        """Identity of the contents, short enough for names."""
        facts = self.text + repr(sorted(self.sizes.items()))
        return hashlib.sha256(facts.encode()).hexdigest()[:12]

    @cached_property
    def state_inputs(self) -> tuple[frozenset[str], ...]:
        """For each state, the arguments that it depends on, through other states too."""
        reads = {s.result: s.operands for s in self.body}
        names = {f"%{s.name}": i for i, s in enumerate(self.states)}
        inputs, links = [], []
        for root in self.next_states:
            seen, todo = set(), [root]
            while todo:
                value = todo.pop()
                if value not in seen:
                    seen.add(value)
                    todo.extend(reads.get(value, ()))
            links.append({names[v] for v in seen if v in names})
            inputs.append({a.name for a in self.arguments if f"%{a.name}" in seen and a.kind != "value"})
        for _ in self.states:
            for i, others in enumerate(links):
                for j in others:
                    inputs[i] |= inputs[j]
        return tuple(frozenset(i) for i in inputs)


_DIMS = re.compile(r"#fla\.dims<([^>]*)>")


def _strip_comments(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


def _resolve_aliases(text: str) -> str:
    """The text with `!K` and `#k` spelled out; aliases hold for what follows them."""
    aliases = {m.group(1): m.group(2).strip() for m in re.finditer(r"([!#]\w[\w$]*)[ \t]*=[ \t]*"
               r"(tensor<[^\n]*?#[\w.]+(?:<[^>]*>)?>|#fla\.dims<[^>]*>|f64)", text)}
    body = re.sub(r"[!#]\w[\w$]*[ \t]*=[ \t]*(tensor<[^\n]*?#[\w.]+(?:<[^>]*>)?>|#fla\.dims<[^>]*>|f64)", "", text)
    for _ in range(2):
        body = re.sub(r"[!#]\w[\w$]*(?![\w.<])", lambda m: aliases.get(m.group(0), m.group(0)), body)
    return body


def parse_dims(attribute: str) -> tuple[str, ...]:
    """Names in ``K, "1 + D"``, the inside of `#fla.dims<...>`."""
    return tuple(canonical(p.group(1) or p.group(2)) for p in re.finditer(r'"([^"]*)"|([\w\']+)', attribute))


def dims_of(type_text: str) -> tuple[str, ...]:
    match = _DIMS.search(type_text)
    return parse_dims(match.group(1)) if match else ()


def _closing(text: str, start: int) -> int:
    """Index of the bracket that closes the one at `start`."""
    pairs, depth = {"(": ")", "{": "}", "<": ">", "[": "]"}, 0
    open_, close = text[start], pairs[text[start]]
    quoted = False
    for i in range(start, len(text)):
        c = text[i]
        if c == '"':
            quoted = not quoted
        if quoted:
            continue
        depth += (c == open_) - (c == close and text[i - 1:i + 1] != "->")
        if depth == 0:
            return i
    raise ValueError(f"expected a {close!r} to close the {open_!r} in {text[start:start + 60]!r}")


def split_top(text: str) -> list[str]:
    """Splits at commas outside brackets and quotes."""
    parts, depth, quoted, last = [], 0, False, 0
    for i, c in enumerate(text):
        if c == '"':
            quoted = not quoted
        elif not quoted:
            depth += (c in "(<[{") - (c in ")]}" or c == ">" and text[i - 1:i] != "-")
            if c == "," and depth == 0:
                parts.append(text[last:i])
                last = i + 1
    return [p.strip() for p in (*parts, text[last:]) if p.strip()]


def _number(text: str) -> float:
    text = text.split(":")[0].strip()
    if text.lower().startswith("0x"):
        return struct.unpack(">d", int(text, 16).to_bytes(8, "big"))[0]
    return float(text)


def _parse_argument(text: str) -> tuple[str, tuple[str, ...], dict]:
    match = re.fullmatch(r"%([\w$.-]+)\s*:\s*(.*?)\s*(?:\{([^{}]*)\})?", text.strip(), re.S)
    if not match:
        raise ValueError(f"expected '%name : type {{attributes}}', got {text!r}")
    attrs = {}
    for entry in split_top(match.group(3) or ""):
        key, _, value = entry.partition("=")
        attrs[key.strip()] = _number(value) if value.strip() else True
    return match.group(1), dims_of(match.group(2)), attrs


def _parse_statements(body: str) -> list[Statement]:
    out = []
    for piece in re.split(r"(?=%[\w$.-]+\s*=\s)|(?=\bfla\.yield\b)", body):
        match = re.match(r"(%[\w$.-]+)\s*=\s*(.*)", piece, re.S)
        if match:
            out.append(Statement(match.group(1), " ".join(match.group(2).split())))
    return out


def _kind(attrs: dict) -> str:
    return "param" if "param" in attrs else "value" if "value" in attrs else "token"


def parse_definition(text: str, sizes: dict | None = None, located: str = "", source: str = "") -> Definition:
    """Reads the header, the operations and the yield of a definition's text.

    `source` names the file in errors. Raises ValueError when there is no
    `fla.recurrence` to read; the compiler itself judges everything else.
    """
    plain = _resolve_aliases(_strip_comments(text))
    head = re.search(r"fla\.recurrence\s+(?:private\s+)?@([\w$.-]+)\s*state\s*\(", plain)
    if not head:
        raise ValueError(f"expected an fla.recurrence in {source or 'the text'}, found none")
    states_end = _closing(plain, head.end() - 1)
    inputs_start = plain.index("(", states_end + 1)
    inputs_end = _closing(plain, inputs_start)
    body_start = plain.index("{", inputs_end)
    body = plain[body_start + 1:_closing(plain, body_start)]
    states = tuple(Carried(n, d, a.get("init", 0.0)) for n, d, a in
                   map(_parse_argument, split_top(plain[head.end():states_end])))
    arguments = tuple(Argument(n, _kind(a), d, a) for n, d, a in
                      map(_parse_argument, split_top(plain[inputs_start + 1:inputs_end])))
    ends = re.search(r"fla\.yield\s+(?:state\s*\(([^)]*)\)\s*)?outputs\s*\(([^)]*)\)\s*:\s*(.*)", body, re.S)
    if not ends:
        raise ValueError(f"expected 'fla.yield state(...) outputs(...)' in @{head.group(1)}, found none")
    types = split_top(re.sub(r"\bloc\(.*", "", ends.group(3), flags=re.S))
    nexts, results = split_top(ends.group(1) or ""), split_top(ends.group(2))
    return Definition(head.group(1), text, states, arguments,
                      tuple(dims_of(t) for t in types[len(nexts):]), tuple(_parse_statements(body)),
                      tuple(nexts), tuple(results), located or text, dict(sizes or {}))
