"""Refusals: the user's file and line, the value, why, and what would be accepted."""

import math
import re

import numpy as np
import pytest
import torch

from fla.lang import (DefinitionError, Param, Scalar, State, Vec, assume, concat, cols, dims, dot, exp, flatten, outer,
                      recurrence, rotate, rows, softmax, sum, unit, where)

K, V = dims("K", "V")


def refused(step) -> str:
    """The message of a step's refusal; it must name this file and a line of the step."""
    with pytest.raises(DefinitionError) as caught:
        recurrence(step).mlir()
    text = str(caught.value)
    place = re.match(r"(.*?):(\d+)(:\d+)?: ", text)
    assert place and place.group(1) == __file__, text
    first = step.__code__.co_firstlineno
    assert first <= int(place.group(2)) <= first + 12, text
    return text


def test_branching_on_a_traced_value_names_where():
    def step(S: State[K, V], q: Vec[K], k: Vec[K], v: Vec[V]):
        if q @ k > 0:
            S = S + outer(k, v)
        return S, S.T @ q

    text = refused(step)
    assert "where(condition, a, b)" in text and "branching" in text and "int, bool, str or Static[float]" in text


def test_branching_points_at_its_line():
    def step(S: State[K, V], k: Vec[K], v: Vec[V], g: Scalar):
        S = S + outer(k, v)
        while g:
            S = S + outer(k, v)
        return S, S.T @ k

    assert f":{step.__code__.co_firstlineno + 2}" in refused(step)


@pytest.mark.parametrize("use", [
    lambda x: math.exp(x), lambda x: float(x), lambda x: int(x), lambda x: range(x), lambda x: np.exp(x),
    lambda x: torch.exp(x)])
def test_numbers_are_not_there_yet(use):
    def step(S: State[K, V], k: Vec[K], v: Vec[V], g: Scalar):
        S = use(g) * S
        return S, S.T @ k

    with pytest.raises(DefinitionError, match="fla.lang"):
        recurrence(step).mlir()


@pytest.mark.parametrize("other", [torch.ones(3), np.ones(3), "k", True, None])
def test_foreign_values(other):
    def step(S: State[K, V], k: Vec[K], v: Vec[V]):
        return S + outer(k, v), k * other

    assert "pass a tensor as an argument" in refused(step)


def test_numpy_and_python_numbers_mix_in():
    @recurrence
    def step(S: State[K, V], k: Vec[K], v: Vec[V]):
        return S + outer(np.float64(2.0) * k, np.float32(0.5) + v), 3 - v

    assert "2.0" in step.mlir() and "0.5" in step.mlir()


def test_mixed_dimensions_are_named():
    def step(S: State[K, V], k: Vec[K], v: Vec[V]):
        return S + k * v, S.T @ k

    text = refused(step)
    assert "dimensions are mixed: 'k' (dimensions K) and 'v' (dimensions V)" in text.replace(
        "'v' (dimensions V) and 'k' (dimensions K)", "'k' (dimensions K) and 'v' (dimensions V)")
    assert "outer(a, b)" in text


def test_contracting_a_dimension_that_is_not_there():
    def step(S: State[K, V], k: Vec[K], v: Vec[V], m: Vec["M"]):
        return S + outer(k, v), S.T @ m

    assert "'m' (dimensions M) names no dimension of 'S'" in refused(step)


def test_a_vector_times_a_square_state_is_ambiguous():
    def step(S: State[K, K], k: Vec[K], w: Vec[K]):
        S = w * S
        return S + outer(k, k), S.T @ k

    assert "rows(w) * S or cols(w) * S" in refused(step)


def test_rows_of_the_wrong_dimension():
    def step(S: State[K, V], k: Vec[K], v: Vec[V]):
        S = rows(v) * S
        return S + outer(k, v), S.T @ k

    assert "expected a vector of dimension K to scale the rows" in refused(step)


def test_sides_are_not_values():
    def step(S: State[K, V], k: Vec[K], v: Vec[V]):
        return S + outer(cols(v), v), S.T @ k

    assert "rows(w) and cols(w)" in refused(step)


def test_indexing_needs_a_static_axis():
    def step(S: State[K, V], k: Vec[K], v: Vec[V]):
        return S + outer(k, v), k[0] * v

    assert 'n: int with Vec["n", "K"]' in refused(step)


def test_an_index_outside_its_axis():
    def step(S: State[K, V], k: Vec["n", "K"], v: Vec[V], *, n: int = 2):
        return S + outer(k[n], v), v

    assert "expected an index below 2 for dimension n, got 2" in refused(step)


def test_states_and_outputs_that_are_missing():
    def only_state(S: State[K, V], k: Vec[K], v: Vec[V]):
        return S + outer(k, v)

    def too_few(S: State[K, V], z: State[K], k: Vec[K], v: Vec[V]):
        return S + outer(k, v), z

    def nothing(S: State[K, V], k: Vec[K], v: Vec[V]):
        S + outer(k, v)

    assert "expected its next state and at least one output" in refused(only_state)
    assert "expected 2 next states and at least one output" in refused(too_few)
    assert "returns nothing" in refused(nothing)


def test_a_next_state_of_other_dimensions():
    def step(S: State[K, V], k: Vec[K], v: Vec[V], m: Vec["M"]):
        return outer(m, v), S.T @ k

    assert "the next value of state 'S'" in refused(step) and "expected dimensions K, V" in refused(step)


@pytest.mark.parametrize("call", [
    lambda k, v: outer(k, outer(k, v)), lambda k, v: softmax(k @ k), lambda k, v: dot(k, v),
    lambda k, v: sum(k, "M"), lambda k, v: flatten(k), lambda k, v: rotate(k, v), lambda k, v: unit(k @ k),
    lambda k, v: concat(), lambda k, v: concat(outer(k, v), v), lambda k, v: assume(k, 1, 0),
    lambda k, v: where(3, k, v), lambda k, v: k.T, lambda k, v: (k > 0) * k, lambda k, v: k @ 3,
    lambda k, v: assume(k, lo=v)])
def test_functions_say_what_they_expect(call):
    def step(S: State[K, V], k: Vec[K], v: Vec[V]):
        return S + outer(k, v), call(k, v)

    with pytest.raises(DefinitionError, match="expected|mixed|has no dimension|used as a number"):
        recurrence(step).mlir()


def test_the_transpose_of_a_square_state_is_for_contractions():
    def step(S: State[K, K], k: Vec[K]):
        return S.T + outer(k, k), S.T @ k

    assert "can only be used with @" in refused(step)


def test_values_do_not_leave_their_step():
    kept = []

    def first(S: State[K, V], k: Vec[K], v: Vec[V]):
        kept.append(k)
        return S + outer(k, v), S.T @ k

    def second(S: State[K, V], k: Vec[K], v: Vec[V]):
        return S + outer(kept[0], v), S.T @ k

    recurrence(first).mlir()
    assert "belongs to another step" in refused(second)
    with pytest.raises(DefinitionError, match="outside the step"):
        exp(kept[0])


# Signatures.
def declared(step) -> str:
    with pytest.raises(DefinitionError) as caught:
        recurrence(step)
    assert str(caught.value).startswith(f"{__file__}:{step.__code__.co_firstlineno}: ")
    return str(caught.value)


def test_signatures_are_checked_at_the_definition():
    def bare(S: State[K, V], k):
        return S, k

    def positional_int(S: State[K, V], k: Vec[K], n: int):
        return S, k

    def no_token(S: State[K, V], A: Param[K]):
        return S, A

    def stars(S: State[K, V], *k: Vec[K]):
        return S, k

    def keyword(S: State[K, V], k: Vec[K], form: Scalar):
        return S, k

    def unknown(S: State[K, V], k: "Vec[Q]"):
        return S, k

    def bad_default(S: State[K, V], k: Vec[K] = 3):
        return S, k

    def listed(S: State[K, V], k: Vec[K], *, n: list = ()):
        return S, k

    assert "'k' has no annotation" in declared(bare)
    assert "expected it after *" in declared(positional_int)
    assert "has no per-token input" in declared(no_token)
    assert "takes any number" in declared(stars) and "which a call uses itself" in declared(keyword)
    assert "unknown name" in declared(unknown) and "Q" in declared(unknown)
    assert "expected None" in declared(bad_default) and "'n' is annotated with" in declared(listed)


def test_annotations_are_checked():
    with pytest.raises(ValueError, match="expected a dimension"):
        Vec["K/2"]
    with pytest.raises(ValueError, match="expected distinct dimensions"):
        Vec["K", "K"]
    with pytest.raises(ValueError, match="expected 0 to 2 dimensions"):
        State["A", "B", "C"]
    with pytest.raises(TypeError, match="expected a State"):
        Vec["K"](init=1.0)
    with pytest.raises(TypeError, match="expected a function"):
        recurrence(3)
