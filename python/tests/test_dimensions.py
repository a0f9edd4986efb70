"""Names of dimensions and their expressions."""

import pytest

from fla.lang import dims
from fla.lang.dimensions import canonical, evaluate, primed, product, solve_sizes, substitute, total, unprimed


@pytest.mark.parametrize("text, spelled", [
    ("K", "K"), ("2*R", "2*R"), ("R*2", "2*R"), ("D*D + 1 + D", "1 + D + D*D"), ("D**2", "D*D"),
    ("R + R", "2*R"), (4, "4"), ("(1 + D)*2", "2 + 2*D")])
def test_one_spelling(text, spelled):
    assert canonical(text) == spelled and canonical(spelled) == spelled


@pytest.mark.parametrize("text", ["", "K V", "K/2", "f(K)", "1.5", "D - 1", "tokens", "past"])
def test_what_is_no_dimension(text):
    with pytest.raises(ValueError, match="expected"):
        canonical(text)


def test_dims_are_objects_with_arithmetic():
    K, V = dims("K", "V")
    assert (K, V) == ("K", "V") and dims("K V") == (K, V) and dims("R") == "R"
    assert 2 * K == "2*K" and K + 1 == "1 + K" and 1 + K + K * K == "1 + K + K*K" and K ** 2 == "K*K"


def test_sizes():
    assert evaluate("1 + D + D*D", {"D": 4}) == 21
    assert evaluate("K'", {"K": 3}) == 3
    with pytest.raises(KeyError):
        evaluate("2*R", {})


def test_primes_mark_a_second_axis():
    assert primed("K") == "K'" and unprimed("K'") == "K"
    assert primed("2*R") == "2*R'" and evaluate("2*R'", {"R": 4}) == 8


def test_products_totals_and_renaming():
    assert product("D", "D") == "D*D" and total(["1", "D", "D*D"]) == "1 + D + D*D"
    assert substitute("1 + D + D*D", {"D": "2*R"}) == "1 + 2*R + 4*R*R"
    assert substitute("K'", {"K": "A"}) == "A'"


def test_expressions_are_solved_for_their_one_unknown():
    sizes = {}
    solve_sizes([("2*R", 8), ("1 + D + D*D", 21), ("K", 5)], sizes)
    assert sizes == {"R": 4, "D": 4, "K": 5}
    sizes = {}
    solve_sizes([("2*R", 7), ("A*B", 6)], sizes)
    assert sizes == {}
