"""An executor of definitions in plain torch: one token after another.

Reads the text of a definition and evaluates it operation by operation with
differentiable torch functions, so that autograd gives the gradients that the
compiler's are compared with. Shares nothing with the compiler.
"""

from __future__ import annotations

import re

import torch

from fla.lang.definition import Definition, dims_of, split_top
from fla.lang.dimensions import evaluate

UNARY = {"math.exp": torch.exp, "math.exp2": torch.exp2, "math.log": torch.log, "math.log2": torch.log2,
         "math.log1p": torch.log1p, "math.expm1": torch.expm1, "math.sqrt": torch.sqrt, "math.rsqrt": torch.rsqrt,
         "math.tanh": torch.tanh, "math.sin": torch.sin, "math.cos": torch.cos, "math.absf": torch.abs,
         "math.erf": torch.erf, "arith.negf": torch.neg, "fla.sigmoid": torch.sigmoid,
         "fla.softplus": torch.nn.functional.softplus, "fla.assume": lambda x: x,
         "fla.softmax": lambda x: torch.softmax(x, -1)}
BINARY = {"arith.addf": torch.add, "arith.subf": torch.sub, "arith.mulf": torch.mul, "arith.divf": torch.div,
          "arith.maximumf": torch.maximum, "arith.minimumf": torch.minimum, "math.powf": torch.pow,
          "fla.logaddexp": torch.logaddexp}
COMPARE = {"olt": torch.lt, "ole": torch.le, "ogt": torch.gt, "oge": torch.ge, "oeq": torch.eq, "une": torch.ne}


def _types(rest: str) -> list[tuple[str, ...]]:
    text = rest.split(" : ", 1)[1].replace("->", ",")
    return [dims_of(t) for t in split_top(text)]


def _einsum(a, a_dims, b, b_dims, out_dims):
    letters = {d: chr(ord("b") + i) for i, d in enumerate(dict.fromkeys((*a_dims, *b_dims)))}
    spell = lambda dims: "a" + "".join(letters[d] for d in dims)
    return torch.einsum(f"{spell(a_dims)},{spell(b_dims)}->{spell(out_dims)}", a, b)


def _widen(x, x_dims, dims, sizes):
    """[H, x_dims...] repeated to [H, dims...]."""
    shape = [x.shape[0]] + [x.shape[1 + x_dims.index(d)] if d in x_dims else 1 for d in dims]
    return x.reshape(shape).expand(x.shape[0], *(evaluate(d, sizes) for d in dims))


def _rotate(x, angle):
    even, odd, c, s = x[..., 0::2], x[..., 1::2], torch.cos(angle), torch.sin(angle)
    return torch.stack([even * c - odd * s, even * s + odd * c], -1).flatten(-2)


def _operation(rest: str, values: dict, sizes: dict, heads: int):
    """The value of one statement; every value is [H, dims...]."""
    name = rest.split()[0]
    o = [values[v] for v in re.findall(r"%[\w$.-]+", rest)]
    if name in UNARY:
        return UNARY[name](o[0])
    if name in BINARY:
        return BINARY[name](o[0], o[1])
    if name == "arith.constant":
        special = {"0x7FF0000000000000": "inf", "0xFFF0000000000000": "-inf"}
        literal = rest.split()[1]
        return torch.full((heads,), float(special.get(literal, literal)), dtype=torch.float64)
    if name == "arith.cmpf":
        return COMPARE[rest.split()[1].rstrip(",")](o[0], o[1])
    if name == "arith.select":
        return torch.where(*o)
    types = _types(rest)
    if name in ("fla.gate", "fla.scale"):
        return o[0] * _widen(o[1], types[1], types[0], sizes)
    if name in ("fla.read", "fla.outer", "fla.contract"):
        return _einsum(o[0], types[0], o[1], types[1], types[2])
    if name == "fla.write":
        return o[0] + _einsum(o[1], types[1], o[2], types[2], types[0])
    if name == "fla.dot":
        return (o[0] * o[1]).flatten(1).sum(1)
    if name == "fla.broadcast":
        return _widen(o[0], types[0], types[1], sizes)
    if name in ("fla.sum", "fla.max"):
        axes = [1 + i for i, d in enumerate(types[0]) if d not in types[1]]
        return o[0].sum(axes) if name == "fla.sum" else o[0].amax(axes)
    if name == "fla.concat":
        return torch.cat([x if d else x.unsqueeze(-1) for x, d in zip(o, types)], -1)
    if name == "fla.flatten":
        return o[0].flatten(-2)
    if name == "fla.rotate":
        return _rotate(o[0], o[1])
    if name == "fla.index":
        return o[0][:, int(re.search(r"\[(\d+)\]", rest).group(1))]
    if name == "fla.rename":
        return o[0]
    raise ValueError(f"the token loop does not know {name}")


def _by_head(x, heads: int, axis: int):
    """All heads of a tensor that may have fewer, in float64."""
    return x.double().repeat_interleave(heads // x.shape[axis], axis)


def _sequence(definition: Definition, per_token: dict, fixed: dict, states: list, tokens: int, sizes, heads):
    outputs = [[] for _ in definition.outputs]
    for t in range(tokens):
        values = {f"%{n}": x[t] for n, x in per_token.items()}
        values.update({f"%{n}": x for n, x in fixed.items()})
        values.update({f"%{s.name}": x for s, x in zip(definition.states, states)})
        for statement in definition.body:
            values[statement.result] = _operation(statement.rest, values, sizes, heads)
        states = [values[v] for v in definition.next_states]
        for i, v in enumerate(definition.results):
            outputs[i].append(values[v])
    return [torch.stack(o) if o else None for o in outputs], states


def token_loop(definition: Definition, tensors: dict, values: dict, sizes: dict, initial=None, offsets=None):
    """(outputs [B, T, H, ...], final states [N, H, ...]) in float64, differentiable.

    Tensors have a head axis; absent inputs take their default.
    """
    kinds = {a.name: a for a in definition.arguments}
    heads = max(x.shape[2 if kinds[n].kind == "token" else 0] for n, x in tensors.items())
    tokens = {n: _by_head(x, heads, 2) for n, x in tensors.items() if kinds[n].kind == "token"}
    fixed = {n: _by_head(x, heads, 0) for n, x in tensors.items() if kinds[n].kind == "param"}
    for name, a in kinds.items():
        if name not in tensors:
            value = values.get(name, a.attrs.get("default"))
            shape = (heads, *(evaluate(d, sizes) for d in a.dims))
            fixed[name] = torch.full(shape, float(value), dtype=torch.float64)
    batch, length = next(iter(tokens.values())).shape[:2]
    pieces = [(b, 0, length) for b in range(batch)] if offsets is None else \
        [(0, a, b) for a, b in zip(offsets, offsets[1:])]
    outputs = [torch.zeros(batch, length, heads, *(evaluate(d, sizes) for d in dims), dtype=torch.float64)
               for dims in definition.outputs]
    finals = [[] for _ in definition.states]
    for n, (b, start, end) in enumerate(pieces):
        states = [_start(s, initial[i] if initial else None, n, heads, sizes) for i, s in enumerate(definition.states)]
        rows = {name: x[b, start:end] for name, x in tokens.items()}
        out, states = _sequence(definition, rows, fixed, states, end - start, sizes, heads)
        for i, o in enumerate(out):
            if o is not None:
                outputs[i] = outputs[i].clone()
                outputs[i][b, start:end] = o
        for i, s in enumerate(states):
            finals[i].append(s)
    return outputs, [torch.stack(f) if f else None for f in finals]


def _start(state, given, n: int, heads: int, sizes: dict):
    if given is not None:
        return _by_head(given[n], heads, 0)
    return torch.full((heads, *(evaluate(d, sizes) for d in state.dims)), state.init, dtype=torch.float64)
