"""The compiled library against the oracles: both forms, float64 and float32.

One definition of each class runs by default, the rest with `-m "long or not long"`.
Dimensions are odd and different, lengths ragged; inputs are exactly
representable in the dtype under test, so that only the computation's own
rounding is seen.
"""
import cases
import numpy as np
import pytest
import signature
import torch

import fla.lang
from fla._native import CompilerMissing, native

try:
    native()
except CompilerMissing as missing:
    pytest.skip(f"the compiler is not built: {missing}", allow_module_level=True)

QUICK = ("gated_delta_rule", "gla", "gsa", "hgrn", "rwkv4", "comba", "gated_delta_product", "mamba",
         "short_conv")
OPTIONAL = {  # classes that leaving gates out makes
    "gla": [("gv",), ("gk",), ("gk", "gv")],
    "gsa": [("g",)],
    "simple_gla": [("g",), ("g_gamma",), ("g", "g_gamma")],
    "gated_delta_rule_gates": [("gk", "gv"), ("g", "gv"), ("g", "gk"), ("g", "gk", "gv")],
    "kda_gate": [("dt_bias",)],
    "mamba": [("D",)],
    "mamba2": [("D",)],
    "mamba3": [("D",)],
    "short_conv": [("bias",), ("residual",), ("bias", "residual")],
}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
NUMPY = {torch.float64: np.float64, torch.float32: np.float32}


def marked(stem, *rest):
    return pytest.param(stem, *rest, marks=() if stem in QUICK else pytest.mark.long)


every_definition = pytest.mark.parametrize("stem", [marked(stem) for stem in signature.STEMS])
every_form = pytest.mark.parametrize("form", ["chunk", "recurrent"])
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])


def run(case, form, dtype, **options):
    tensor = lambda x: torch.from_numpy(np.ascontiguousarray(x)).to(dtype)
    start = None if case.initial is None else [tensor(s) for s in case.initial]
    offsets = None if case.offsets is None else torch.tensor(case.offsets)
    *outputs, final = fla.lang.load(case.definition.name)(
        **{name: tensor(x) for name, x in case.tensors.items()}, **case.values,
        initial_state=start[0] if start and len(start) == 1 else start,
        output_final_state=True, cu_seqlens=offsets, form=form, **options)
    return outputs[0], final if isinstance(final, tuple) else (final,)


def check(case, form, dtype, **options):
    o, finals = run(case, form, dtype, **options)
    assert o.dtype == dtype and tuple(o.shape) == case.expected.shape
    assert cases.relative_error(o, case.expected) <= TOLERANCE[dtype]
    assert len(finals) == len(case.finals)
    for state, got, wanted in zip(case.definition.states, finals, case.finals):
        assert tuple(got.shape) == wanted.shape, state.name
        if np.all(np.isfinite(wanted)):
            assert cases.relative_error(got, wanted) <= TOLERANCE[dtype], state.name
        else:  # an empty sequence leaves a state at minus infinity
            np.testing.assert_allclose(got.double().numpy(), wanted, rtol=TOLERANCE[dtype], err_msg=state.name)


@every_dtype
@every_form
@every_definition
def test_weak_gates(stem, form, dtype):
    check(cases.make(stem, 2, 65, 2, "weak", dtype=NUMPY[dtype]), form, dtype)


@every_dtype
@every_form
@every_definition
@pytest.mark.parametrize("regime", ["strong", "zero", "minus60"])
def test_strong_zero_and_resetting_gates(stem, regime, form, dtype):
    check(cases.make(stem, 1, 130, 2, regime, dtype=NUMPY[dtype]), form, dtype)


@every_dtype
@every_form
@every_definition
def test_correlated_keys(stem, form, dtype):
    check(cases.make(stem, 1, 97, 2, "weak", correlated=True, dtype=NUMPY[dtype]), form, dtype)


@every_form
@every_definition
@pytest.mark.parametrize("length", [0, 1, 2, 63, 64, 66])
def test_any_length_from_the_definitions_start(stem, length, form):
    check(cases.make(stem, 1, length, 1, "strong", initial=False), form, torch.float64)


@pytest.mark.long
@every_form
@every_definition
def test_a_thousand_tokens(stem, form):
    check(cases.make(stem, 1, 1000, 1, "weak", correlated=True, dtype=np.float32), form, torch.float32)


@every_form
@every_definition
def test_packed_sequences(stem, form):
    offsets = [0, 5, 5, 69, 70, 134, 141]
    check(cases.make(stem, 1, offsets[-1], 2, "strong", offsets=offsets), form, torch.float64)


@every_definition
def test_packed_sequences_from_the_definitions_start(stem):
    offsets = [0, 64, 64, 71]
    check(cases.make(stem, 1, offsets[-1], 1, "weak", offsets=offsets, initial=False), "chunk", torch.float64)


@every_definition
@pytest.mark.parametrize("chunk", [16, 32, 128])
def test_chunk_size_changes_nothing(stem, chunk):
    check(cases.make(stem, 1, 100, 1, "strong"), "chunk", torch.float64, chunk_size=chunk)


@every_form
@pytest.mark.parametrize("stem, absent", [marked(stem, absent) for stem in OPTIONAL for absent in OPTIONAL[stem]],
                         ids=lambda value: value if isinstance(value, str) else "no_" + "_".join(value))
def test_optional_inputs_left_out(stem, absent, form):
    check(cases.make(stem, 1, 70, 2, "weak", absent=absent), form, torch.float64)


@every_definition
def test_defaults_are_those_of_the_paper(stem):
    case = cases.make(stem, 1, 20, 1, "weak")
    case.values = {}
    case.expected, case.finals = cases.solve(case)
    check(case, "chunk", torch.float64)
