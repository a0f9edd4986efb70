"""Shows a definition as equations, one line a state version and an output."""

from __future__ import annotations

from collections import Counter

from .definition import Definition, Statement, dims_of, split_top

__all__ = ["equations"]

_INFIX = {"arith.addf": ("+", 1), "arith.subf": ("-", 1), "arith.mulf": ("*", 2), "arith.divf": ("/", 2)}
_NAMES = {"absf": "abs", "maximumf": "maximum", "minimumf": "minimum", "powf": "pow"}
_COMPARE = {"olt": "<", "ole": "<=", "ogt": ">", "oge": ">=", "oeq": "==", "une": "!="}
_SAME = ("fla.broadcast", "fla.assume", "fla.rename")
_ATOM = 9
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class _Writer:
    """Texts of values with the strength of their outermost operator."""

    def __init__(self, definition: Definition):
        self.definition = definition
        self.texts = {f"%{a.name}": (a.name, _ATOM) for a in (*definition.states, *definition.arguments)}
        self.uses = Counter(o for s in definition.body for o in s.operands)
        self.uses.update(definition.results)
        self.bases = {f"%{s.name}": s.name for s in definition.states}
        self.versions: Counter = Counter()
        self.lines: list[str] = []

    def at(self, value: str, strength: int) -> str:
        text, own = self.texts[value]
        return text if own >= strength else f"({text})"

    def write(self, s: Statement) -> None:
        mnemonic = s.rest.split()[0]
        text = self._expression(mnemonic, s)
        base = next((self.bases[o] for o in s.operands[:2] if o in self.bases), None)
        follows = mnemonic in ("fla.gate", "fla.write", "fla.logaddexp", *_INFIX) and base is not None
        shared = self.uses[s.result] > 1 and text[1] < _ATOM and mnemonic not in _SAME
        final = s.result in self.definition.next_states
        if final or follows and (mnemonic == "fla.write" or shared):
            base = self.definition.states[self.definition.next_states.index(s.result)].name if final else base
        elif shared:
            base = "t"
        else:
            self.texts[s.result] = text
            if follows:
                self.bases[s.result] = base
            return
        self._line(s.result, base, text[0])
        if base != "t":
            self.bases[s.result] = base

    def _line(self, result: str, base: str, text: str) -> None:
        self.versions[base] += 1
        name = base + str(self.versions[base]).translate(_SUBSCRIPTS)
        self.lines.append(f"{name} = {text}")
        self.texts[result] = (name, _ATOM)

    def _expression(self, mnemonic: str, s: Statement) -> tuple[str, int]:
        o = s.operands
        if mnemonic in _SAME:
            return self.texts[o[0]]
        if mnemonic in _INFIX:
            sign, strength = _INFIX[mnemonic]
            return f"{self.at(o[0], strength)} {sign} {self.at(o[1], strength + (sign in '-/'))}", strength
        if mnemonic in ("fla.gate", "fla.scale"):
            return f"{self.at(o[1], 2)} * {self.at(o[0], 2)}", 2
        if mnemonic == "arith.negf":
            return f"-{self.at(o[0], 3)}", 2
        if mnemonic == "arith.constant":
            return _constant(s.rest), _ATOM
        if mnemonic in ("fla.read", "fla.contract"):
            return self._product(s)
        if mnemonic == "fla.write":
            return f"{self.at(o[0], 1)} + outer({self.at(o[1], 0)}, {self.at(o[2], 0)})", 1
        if mnemonic == "fla.index":
            position = s.rest[s.rest.index("["):s.rest.index("]") + 1]
            return self.at(o[0], _ATOM) + position, _ATOM
        if mnemonic == "arith.cmpf":
            sign = _COMPARE.get(s.rest.split()[1].rstrip(","), "?")
            return f"{self.at(o[0], 1)} {sign} {self.at(o[1], 1)}", 0
        name = "where" if mnemonic == "arith.select" else mnemonic.split(".")[-1]
        return f"{_NAMES.get(name, name)}({', '.join(self.at(x, 0) for x in o)})", _ATOM

    def _product(self, s: Statement) -> tuple[str, int]:
        """``S.T @ q`` or ``S @ v`` by the axis that is summed."""
        matrix, vector = s.operands[:2]
        types = split_top(s.rest.split(" : ", 1)[1].split("->")[0])
        axes, summed = dims_of(types[0]), dims_of(types[1])
        first = bool(axes) and axes[:1] == summed
        return f"{self.at(matrix, 4)}{'.T' if first else ''} @ {self.at(vector, 4)}", 3


def _constant(rest: str) -> str:
    literal = rest.split()[1]
    special = {"0x7FF0000000000000": "inf", "0xFFF0000000000000": "-inf", "0x7FF8000000000000": "nan"}
    return special.get(literal) or f"{float(literal):g}"


def equations(definition: Definition) -> list[str]:
    """Lines such as ``S₁ = exp(g) * S`` and ``o = S₂.T @ q``, in the step's order."""
    writer = _Writer(definition)
    for statement in definition.body:
        writer.write(statement)
    names = ["o"] if len(definition.results) == 1 else [f"o{i + 1}" for i in range(len(definition.results))]
    lines = writer.lines + [f"{n} = {writer.at(r, 0)}" for n, r in zip(names, definition.results)]
    ends = {writer.at(v, 0): s.name for s, v in zip(definition.states, definition.next_states)}
    carried = ", ".join(f"{name} <- {value}" for value, name in ends.items())
    return [*lines, carried] if carried else lines
