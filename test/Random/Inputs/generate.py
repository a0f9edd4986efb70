"""A seeded generator of definitions, valid and invalid, as text of the fla dialect.

usage: generate.py valid|invalid COUNT [SEED [FIRST]]    prints COUNT definitions, from number FIRST on

Valid steps cover what normalisation accepts: decays of every kind on rows and columns, rank-1 writes
that read earlier versions of the state, side versions, transposed states, chains of states,
elementwise states, sums of versions, prologues and epilogues. Definition i of a seed is the same whatever
COUNT is. Invalid ones carry the diagnostics that `fla-opt --verify-diagnostics` expects.
"""
import random
import sys

TYPES = {"": "f64", "K": "!K", "V": "!V", "KV": "!S"}
ALIASES = """!K = tensor<?xf64, #fla.dims<K>>
!V = tensor<?xf64, #fla.dims<V>>
!S = tensor<?x?xf64, #fla.dims<K, V>>
"""


class Step:
    """The text of one definition; values are (name, dims) pairs."""

    def __init__(self, name, rng):
        self.name, self.rng = name, rng
        self.states, self.inputs, self.lines = [], [], []
        self.next, self.outputs = [], []

    def state(self, dims, attrs=""):
        value = (f"%S{len(self.states)}", dims)
        self.states.append(f"{value[0]} : {TYPES[dims]}{attrs}")
        return value

    def input(self, dims, attrs=""):
        value = (f"%x{len(self.inputs)}", dims)
        self.inputs.append(f"{value[0]} : {TYPES[dims]}{attrs}")
        return value

    def op(self, name, *operands, dims=None, types=None):
        """Appends an operation on values; the spelling of its types is `types`, or the first operand's."""
        value = (f"%{len(self.lines)}", operands[0][1] if dims is None else dims)
        types = TYPES[operands[0][1]] if types is None else types
        self.lines.append(f"{value[0]} = {name} {', '.join(o[0] for o in operands)} : {types}")
        return value

    def constant(self, number):
        self.lines.append(f"%{len(self.lines)} = arith.constant {float(number)!r} : f64")
        return f"%{len(self.lines) - 1}", ""

    def types(self, *operands):
        return ", ".join(TYPES[o[1]] for o in operands)

    def scale(self, value, factor):
        return self.op("fla.scale", value, factor, types=self.types(value, factor))

    def read(self, state, query):
        dims = "V" if query[1] == "K" else "K"
        return self.op("fla.read", state, query, dims=dims, types=f"{self.types(state, query)} -> {TYPES[dims]}")

    def write(self, state, rows, columns):
        """`rows` and `columns` in either order: the operation takes the K-vector first."""
        x, y = (rows, columns) if rows[1] == "K" else (columns, rows)
        return self.op("fla.write", state, x, y, types=self.types(state, x, y))

    def gate(self, state, factor):
        return self.op("fla.gate", state, factor, types=self.types(state, factor))

    def text(self):
        types = ", ".join(TYPES[v[1]] for v in self.next + self.outputs)
        body = "".join(f"  {line}\n" for line in self.lines)
        return (f"fla.recurrence @{self.name} state({', '.join(self.states)}) (\n    {', '.join(self.inputs)}) {{\n{body}"
                f"  fla.yield state({', '.join(v[0] for v in self.next)}) outputs({', '.join(v[0] for v in self.outputs)}) : {types}\n}}\n")

    # Values that do not depend on a state

    def vector(self, dims):
        kind = self.rng.randrange(6)
        value = self.input(dims)
        if kind == 0:
            return self.op("math.tanh", value)
        if kind == 1:
            return self.op("arith.mulf", value, self.op("fla.sigmoid", self.input(dims)))
        if kind == 2:
            return self.op("fla.softmax", value)
        if kind == 3:
            return self.scale(value, self.input("", " {param}"))
        if kind == 4:
            return self.scale(value, self.input("", " {value, default = 1.0}"))
        return value

    def key(self, dims):
        return self.input(dims, " {unit}")

    def rate(self):
        """A scalar in [0, 1]."""
        kind = self.rng.randrange(3)
        if kind == 0:
            return self.op("fla.sigmoid", self.input(""))
        if kind == 1:
            return self.op("fla.sigmoid", self.input("", " {param}"))
        return self.input("", " {min = 0.0, max = 1.0}")

    def decay(self, dims):
        kind = self.rng.randrange(6)
        if kind == 0:
            return self.op("fla.sigmoid", self.input(dims))
        if kind == 1:
            return self.op("math.exp", self.input(dims, " {param, max = 0.0}"))
        if kind == 2 and not dims:
            return self.constant(self.rng.choice([0.5, 0.9, 1.0]))
        if kind == 3:
            return self.op("arith.mulf", self.op("math.exp", self.input(dims, " {max = 0.0}")), self.op("fla.sigmoid", self.input(dims)))
        return self.op("math.exp", self.input(dims, " {max = 0.0}"))


class MatrixState:
    """Grows the update of a matrix state: decays and writes on the trunk, reads anywhere."""

    def __init__(self, step, fed=None):
        rng = step.rng
        self.step, self.fed = step, fed
        self.rows, self.columns = ("K", "V") if rng.random() < 0.8 else ("V", "K")
        self.versions = [step.state("KV")]  # on the trunk, the incoming one first
        self.readable = 0  # first version that may feed a write
        self.gated_columns = False

    def grow(self):
        rng, step = self.step.rng, self.step
        self.gated_columns = rng.random() < 0.25
        events = ["gate"] * rng.choice([0, 1, 1, 2]) + ["write"] * rng.choice([1, 1, 2, 3])
        rng.shuffle(events)
        if self.gated_columns:  # legal if no decay of columns lies between a read and its write
            events = ["columns"] + sorted(events)
            self.readable = events.index("write")
        for event in events:
            last = self.versions[-1]
            if event == "gate":
                self.versions.append(step.gate(last, step.decay(rng.choice(["", self.rows]))))
            elif event == "columns":
                self.versions.append(step.gate(last, step.decay(self.columns)))
            else:
                self.versions.append(self.write(last))
        if not self.gated_columns and self.rows == "K" and rng.random() < 0.08:
            self.versions = [self.versions[0], step.op("arith.addf", step.gate(self.versions[0], self.small()), step.gate(self.versions[-1], self.small()))]

    def small(self):
        return self.step.constant(self.step.rng.choice([0.25, 0.5]))

    def write(self, last):
        step, rng = self.step, self.step.rng
        key = step.key(self.rows)
        value = step.vector(self.columns)
        if self.fed is not None and self.fed[1] == self.columns and rng.random() < 0.7:
            value = self.fed
        elif self.fed is not None and self.fed[1] == self.rows:
            key = self.fed
        kind = rng.randrange(4)
        if kind == 0:  # additive
            return step.write(last, key, value)
        if kind == 1:  # delta rule: the latest version, the same key
            error = step.op("arith.subf", value, step.read(last, key))
            return step.write(last, key, step.scale(error, step.rate()))
        for _ in range(rng.choice([1, 1, 2])):  # any version, any key; small, so that states stay bounded
            version = rng.choice(self.versions[self.readable:])
            query = key if rng.random() < 0.4 else step.key(self.rows)
            term = step.scale(step.read(version, query), self.small())
            value = step.op(rng.choice(["arith.addf", "arith.subf"]), value, term)
        return step.write(last, key, value)

    def output(self):
        step, rng = self.step, self.step.rng
        whole = [self.versions[0], self.versions[-1]]  # versions that any read may see
        kind = rng.randrange(6)
        if kind == 0:  # the other side
            return step.read(self.versions[-1], step.vector(self.columns))
        version = rng.choice(whole if self.gated_columns else self.versions)
        if kind == 1:  # a side version: a bonus for the current token
            version = step.write(self.versions[0] if self.gated_columns else version, step.vector(self.rows), step.vector(self.columns))
        return step.read(version, step.vector(self.rows))


def elementwise_state(step):
    """A vector state; returns something bounded that depends on it."""
    rng, dims = step.rng, step.rng.choice("KV")
    kind = rng.randrange(4)
    state = step.state(dims, " {init = 0xFFF0000000000000 : f64}" if kind in (2, 3) else "")
    new = step.input(dims)
    if kind == 0:
        following = step.op("arith.addf", step.op("arith.mulf", step.decay(dims), state), new)
    elif kind == 1:
        following = new  # the previous token's value
    elif kind == 2:
        following = step.op("fla.logaddexp", step.op("arith.addf", state, step.input(dims, " {max = 0.0}")), new)
    else:
        following = step.op("arith.maximumf", step.op("arith.addf", state, step.input(dims, " {max = 0.0}")), new)
    step.next.append(following)
    return step.op("math.tanh", state if kind == 1 else following)


def full_state(step):
    """A K x V state that decays element by element, and its read."""
    state = step.state("KV")
    rate, table = step.op("fla.sigmoid", step.input("K")), step.input("KV", " {param, max = 0.0}")
    decay = step.op("math.exp", step.scale(table, rate))
    x, y = step.vector("K"), step.vector("V")
    term = step.op("fla.outer", x, y, dims="KV", types=f"{step.types(x, y)} -> !S")
    following = step.op("arith.addf", step.gate(state, decay), term)
    step.next.append(following)
    return step.read(following, step.vector("K"))


def epilogue(step, value):
    kind = step.rng.randrange(6)
    if kind == 0:
        return step.op("math.tanh", value)
    if kind == 1:
        return step.op("arith.mulf", value, step.op("fla.sigmoid", step.input(value[1])))
    if kind == 2:
        return step.op("fla.softmax", value)
    if kind == 3:  # a norm over all of the columns
        square = step.op("fla.dot", value, value, dims="", types=TYPES[value[1]])
        return step.scale(value, step.op("math.rsqrt", step.op("arith.addf", square, step.constant(1.0))))
    return value


def valid(name, rng):
    step = Step(name, rng)
    if rng.random() < 0.08:
        step.outputs.append(epilogue(step, full_state(step)))
        return step
    fed = elementwise_state(step) if rng.random() < 0.3 else None
    for _ in range(2 if rng.random() < 0.2 else 1):
        state = MatrixState(step, fed)
        state.grow()
        fed = epilogue(step, state.output())
        step.next.append(state.versions[-1])
    step.outputs.append(fed)
    if rng.random() < 0.3:
        step.outputs.append(state.output())
    return step


# Invalid steps: one rule of the language broken after a valid beginning.

def nonlinear(step, state):
    value = step.op(step.rng.choice(["math.tanh", "fla.sigmoid", "fla.softmax", "math.exp", "math.sin"]), step.read(state, step.key("K")))
    return step.write(state, step.key("K"), value), value, "nonlinear use of a value read from the state by"


def quadratic(step, state):
    value = step.op("arith.mulf", step.read(state, step.key("K")), step.read(state, step.key("K")))
    return step.write(state, step.key("K"), value), value, "product of two values that depend on the state (quadratic in the state)"


def read_of_read(step, state):
    value = step.read(state, step.read(state, step.key("K")))
    return step.write(state, value, step.vector("V")), value, "the state is read with a vector that depends on it"


def both_factors(step, state):
    bad = step.write(state, step.read(state, step.vector("V")), step.read(state, step.key("K")))
    return bad, bad, "a rank-1 term both of whose vectors read the state"


def per_channel(step, state):
    error = step.op("arith.subf", step.vector("V"), step.read(state, step.key("K")))
    value = step.op("arith.mulf", error, step.vector("V"))
    return step.write(state, step.key("K"), value), value, "a read of the state scaled per channel"


def gate_of_read(step, state):
    dot = step.op("fla.dot", step.read(state, step.key("K")), step.vector("V"), dims="", types="!V")
    bad = step.gate(state, step.op("fla.sigmoid", dot))
    return step.write(bad, step.key("K"), step.vector("V")), bad, "a decay computed from a read of the state"


def full_decay(step, state):
    bad = step.gate(state, step.op("math.exp", step.input("KV", " {max = 0.0}")))
    value = step.read(bad, step.key("K"))
    return step.write(bad, step.key("K"), value), bad, "decay of every element by itself combined with a read"


def negative_decay(step, state):
    bad = step.gate(state, step.input(step.rng.choice(["", "K"])))
    value = step.read(bad, step.key("K"))
    return step.write(bad, step.key("K"), value), bad, "a decay that may be negative"


def two_sided(step, state):
    first = step.write(state, step.key("K"), step.read(state, step.key("K")))
    bad = step.write(first, step.read(state, step.vector("V")), step.vector("V"))
    return bad, bad, "reads from both sides of the state feed it"


RULES = [nonlinear, quadratic, read_of_read, both_factors, per_channel, gate_of_read, full_decay, negative_decay, two_sided]


def invalid(name, rng):
    """The text of a definition that breaks a rule, with its diagnostics as comments."""
    step = Step(name, rng)
    state = step.state("KV")
    for _ in range(rng.randrange(3)):  # a valid beginning: its reads would be legal
        state = step.gate(state, step.decay(rng.choice(["", "K"]))) if rng.random() < 0.5 else step.write(state, step.key("K"), step.vector("V"))
    state, bad, why = rng.choice(RULES)(step, state)
    step.next.append(state)
    step.outputs.append(step.read(state, step.vector("K")))
    at = int(bad[0][1:])
    step.lines[at] = f"// expected-error@+1 {{{{state 'S0' cannot be chunked: {why}}}}}\n  {step.lines[at]}"
    return f"{ALIASES}// expected-note@+1 {{{{the state is declared here}}}}\n{step.text()}"


def main():
    kind, count = sys.argv[1], int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    first = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    numbers = range(first, first + count)
    if kind == "valid":
        print(ALIASES + "\n".join(valid(f"random_{i}", random.Random(f"{seed} {i}")).text() for i in numbers))
    else:
        print("\n// -----\n\n".join(invalid(f"random_{i}", random.Random(f"{seed} {i}")) for i in numbers))


main()
