"""The text of every definition, read operation by operation, against its oracle.

Needs no compiler: the reader is plain torch, one token after another.
"""
import cases
import inputs
import pytest
import signature
import token_loop
import torch

from fla.lang.definition import parse_definition


@pytest.mark.parametrize("initial", [False, True], ids=["zero", "carried"])
@pytest.mark.parametrize("stem", signature.STEMS)
def test_text_means_what_the_paper_says(stem, initial):
    text = (signature.MODELS / f"{stem}.mlir").read_text()
    definition = parse_definition(text)
    for regime in inputs.REGIMES:
        case = cases.make(stem, batch=1, length=9, heads=2, regime=regime, initial=initial)
        tensors = {name: torch.from_numpy(x) for name, x in case.tensors.items()}
        start = None if case.initial is None else [torch.from_numpy(s) for s in case.initial]
        outputs, finals = token_loop.token_loop(definition, tensors, case.values, inputs.SIZES, start)
        assert cases.relative_error(outputs[0], case.expected) < 1e-12
        for got, wanted in zip(finals, case.finals):
            assert cases.relative_error(got, wanted) < 1e-12
