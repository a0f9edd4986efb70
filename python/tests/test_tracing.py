"""What tracing makes of a step: the text of the dialect."""

from __future__ import annotations

import re

import pytest

from fla.lang import (DefinitionError, Param, Scalar, State, Static, Vec, assume, cols, concat, exp, flatten, l2norm,
                      outer, recurrence, rows, softmax, sqrt, unit, where)
from fla.lang.definition import parse_definition


def body(op, **kwargs) -> list[str]:
    """The operations, types left out."""
    lines = op.mlir(**kwargs).splitlines()[1:-2]
    return [re.sub(r" : .*", "", line).split(" = ")[1] for line in lines]


@recurrence
def gated_delta_rule(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar, *,
                     scale: float = 1.0):
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, scale * (S.T @ q)


def test_gated_delta_rule():
    assert gated_delta_rule.mlir() == """\
fla.recurrence @gated_delta_rule state(%S : tensor<?x?xf64, #fla.dims<K, V>>) (%q : tensor<?xf64, #fla.dims<K>>, \
%k : tensor<?xf64, #fla.dims<K>>, %v : tensor<?xf64, #fla.dims<V>>, %g : f64, %beta : f64, \
%scale : f64 {value, default = 1.0 : f64}) {
  %0 = math.exp %g : f64
  %1 = fla.gate %S, %0 : tensor<?x?xf64, #fla.dims<K, V>>, f64
  %2 = fla.read %1, %k : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<V>>
  %3 = arith.subf %v, %2 : tensor<?xf64, #fla.dims<V>>
  %4 = fla.scale %3, %beta : tensor<?xf64, #fla.dims<V>>, f64
  %6 = fla.write %1, %k, %4 : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<K>>, tensor<?xf64, #fla.dims<V>>
  %7 = fla.read %6, %q : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<K>> -> tensor<?xf64, #fla.dims<V>>
  %8 = fla.scale %7, %scale : tensor<?xf64, #fla.dims<V>>, f64
  fla.yield state(%6) outputs(%8) : tensor<?x?xf64, #fla.dims<K, V>>, tensor<?xf64, #fla.dims<V>>
}
"""


def test_each_operation_carries_the_line_it_comes_from():
    located = gated_delta_rule.definition().located
    line = gated_delta_rule.step.__code__.co_firstlineno
    assert f'math.exp %g : f64 loc("{__file__}":{line + 3}:' in located
    assert f'"{__file__}":{line + 4}:' in located and f'"{__file__}":{line + 5}:' in located


def test_optional_inputs_are_not_traced_when_absent():
    @recurrence
    def gla(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], gk: Vec["K"] | None = None,
            gv: Vec["V"] | None = None):
        S = S if gk is None else exp(gk) * S
        S = S if gv is None else exp(gv) * S
        S = S + outer(k, v)
        return S, S.T @ q

    assert body(gla) == ["fla.write %S, %k, %v", "fla.read %1, %q"]
    assert "%gk" not in gla.mlir()
    assert body(gla, present=("gk", "gv"))[:4] == ["math.exp %gk", "fla.gate %S, %0", "math.exp %gv", "fla.gate %1, %2"]


def test_static_arguments_unroll():
    @recurrence
    def product(S: State["K", "V"], q: Vec["K"], k: Vec["n", "K"], v: Vec["n", "V"], b: Vec["n"], *, n: int = 2,
                mode: str = "delta", damp: Static[float] = 0.0):
        for i in range(n):
            y = v[i] - S.T @ k[i] if mode == "delta" else v[i]
            S = S + outer(k[i], b[i] * y)
        if damp > 0:
            S = (1 - damp) * S
        return S, S.T @ q

    assert sum("fla.write" in x for x in body(product)) == 2
    assert sum("fla.write" in x for x in body(product, n=5)) == 5
    assert "fla.index %k[4]" in body(product, n=5)
    assert not any("arith.subf" in x for x in body(product, mode="plain"))
    assert "arith.constant 0.75" in body(product, damp=0.25)


def test_helpers_and_closures_unroll():
    width = 3

    def decay(S, g):
        for _ in range(width):
            S = exp(g) * S
        return S

    @recurrence
    def step(S: State["K", "V"], k: Vec["K"], v: Vec["V"], g: Scalar):
        S = decay(S, g) + outer(k, v)
        return S, S.T @ k

    assert sum("fla.gate" in x for x in body(step)) == 3


def test_python_runs_the_step_once():
    runs = []

    @recurrence
    def step(S: State["K", "V"], k: Vec["K"], v: Vec["V"]):
        runs.append(1)
        return S + outer(k, v), S.T @ k

    step.mlir(), step.mlir(), repr(step)
    assert len(runs) == 1


def test_broadcasting_goes_by_name():
    @recurrence
    def step(S: State["K", "V"], k: Vec["K"], v: Vec["V"], w: Vec["V"], b: Scalar):
        S = w * S
        S = k * S
        return S + outer(k, b + v), 1 - b * v

    assert body(step) == ["fla.gate %S, %w", "fla.gate %0, %k", "fla.broadcast %b", "arith.addf %2, %v",
                          "fla.write %1, %k, %3", "fla.scale %v, %b", "arith.constant 1.0",
                          "fla.broadcast %7", "arith.subf %8, %6"]


def test_contractions_go_by_name():
    @recurrence
    def step(S: State["K", "V"], k: Vec["K"], v: Vec["V"], w: Vec["K"]):
        S = S + outer(k, v)
        return S, S.T @ k, S @ v, k @ S, (k @ w) * k

    assert body(step) == ["fla.write %S, %k, %v", "fla.read %1, %k", "fla.read %1, %v", "fla.read %1, %k",
                          "fla.dot %k, %w", "fla.scale %k, %5"]


def test_an_outer_product_of_either_order_fits_the_state():
    @recurrence
    def step(S: State["K", "V"], k: Vec["K"], v: Vec["V"]):
        S = S + outer(v, k).T
        return S, S.T @ k

    assert "fla.write %S, %k, %v" in step.mlir()


def test_square_states_take_rows_and_cols():
    @recurrence
    def step(S: State["K", "K"], k: Vec["K"], w: Vec["K"]):
        S = rows(w) * S
        S = S * cols(w)
        S = S + outer(k, w - S.T @ k)
        return S, S @ k

    text = step.mlir()
    assert '#fla.dims<K, "K\'">' in text
    gates = re.findall(r"fla\.gate (%\w+), (%\w+) : .*, tensor<\?xf64, #fla\.dims<(.*)>>$", text, re.M)
    assert [g[2] for g in gates] == ["K", "\"K'\""]
    assert text.count("fla.rename") == 3  # cols(w), the read that w is subtracted from, S @ k
    reads = re.findall(r"fla\.read .* tensor<\?xf64, #fla\.dims<(.*?)>> ->", text)
    assert reads == ["K", "\"K'\""]


def test_dimension_expressions():
    @recurrence
    def step(S: State["1 + D + D*D", "V"], q: Vec["D"], v: Vec["V"]):
        f = concat(1.0, q, flatten(outer(q, q)) / sqrt(2))
        S = S + outer(f, v)
        return S, S.T @ f

    assert 'tensor<?xf64, #fla.dims<"1 + D + D*D">>' in step.mlir()
    assert body(step).count("fla.flatten %1") == 1


def test_vector_states_are_gated_when_it_reaches_them_and_multiplied_otherwise():
    @recurrence
    def step(h: State["D"], x: Vec["D"], g: Vec["D"], o: Vec["D"]):
        h = exp(g) * h + x
        return h, h * o

    assert body(step) == ["math.exp %g", "fla.gate %h, %0", "arith.addf %1, %x", "arith.mulf %2, %o"]


def test_previous_token():
    @recurrence
    def step(S: State["K", "V"], last: State["K"], k: Vec["K"], v: Vec["V"]):
        S = S + outer(last, v)
        return (S, k), S.T @ k

    assert "fla.yield state(%1, %k)" in step.mlir()


def test_states_may_be_returned_flat_or_as_a_tuple():
    def make(flat):
        @recurrence
        def step(S: State["K", "V"], z: State["K"], k: Vec["K"], v: Vec["V"]):
            S, z = S + outer(k, v), z + k
            return (S, z, S.T @ k, z) if flat else ((S, z), S.T @ k, z)
        return step

    assert make(True).mlir() == make(False).mlir()


def test_domains_of_arguments_are_attributes_and_of_values_operations():
    @recurrence
    def step(S: State["K", "V"], k: Vec["K"], v: Vec["V"], g: Scalar, h: Scalar):
        k, g = unit(k), assume(g, hi=0.0)
        S = exp(g + assume(h * 2, -1, 0)) * S + outer(k, v)
        return S, S.T @ k

    text = step.mlir()
    assert "{unit}" in text and "%g : f64 {max = 0.0 : f64}" in text
    assert "{min = -1.0 : f64, max = 0.0 : f64}" in text


def test_state_starts():
    @recurrence
    def step(m: State["M"](init=-float("inf")), z: State("M", init=0.5), n: "State['M', init=-inf]", x: Vec["M"]):
        return (m, z, n), x

    assert re.findall(r"init = (\S+) :", step.mlir()) == ["0xFFF0000000000000", "0.5", "0xFFF0000000000000"]
    assert [s.init for s in step.definition().states] == [-float("inf"), 0.5, -float("inf")]


def test_params_have_no_time_axis():
    @recurrence
    def step(h: State["D", "N"], x: Vec["D"], A: Param["D", "N"], B: Vec["N"], u: Param[()]):
        h = exp(A) * h + outer(x, u * B)
        return h, h @ B

    assert step.mlir().count("{param}") == 2
    assert [a.kind for a in step.definition().arguments] == ["token", "param", "token", "param"]


def test_choosing_by_comparison():
    @recurrence
    def step(h: State["D"], x: Vec["D"], g: Vec["D"]):
        h = exp(g) * h + x
        return h, where((h > 0) & ~(x >= 1.0), h, 0.0)

    assert [x.split(",")[0] for x in body(step) if "cmpf" in x] == ["arith.cmpf oge", "arith.cmpf ogt"]


def test_numbers_that_mlir_wants_a_point_in():
    @recurrence
    def step(h: State["D"], x: Vec["D"]):
        return h + x * 1e-6, softmax(x) + 3

    assert "1.0e-06" in step.mlir() and "3.0" in step.mlir()


def test_parsing_a_definition_back():
    text = gated_delta_rule.mlir()
    d = parse_definition(text)
    assert d.name == "gated_delta_rule" and [a.name for a in d.arguments] == ["q", "k", "v", "g", "beta", "scale"]
    assert d.outputs == (("V",),) and d.states[0].dims == ("K", "V")
    assert d.state_inputs == (frozenset({"k", "v", "g", "beta"}),)


def test_unicode_and_reserved_names_are_refused():
    with pytest.raises(DefinitionError, match="'β' cannot name an argument: expected ASCII"):
        @recurrence
        def step(S: State["K", "V"], k: Vec["K"], β: Scalar):
            return S, k


def test_l2norm_is_the_formula():
    @recurrence
    def step(h: State["D"], x: Vec["D"]):
        return h + l2norm(x), x

    assert body(step) == ["arith.mulf %x, %x", "fla.sum %0", "arith.constant 1.0e-06", "arith.addf %1, %2",
                          "math.rsqrt %3", "fla.scale %x, %4", "arith.addf %h, %5"]
