"""Every definition's recurrent form against the oracles: a few tokens, the sizes of models,
states that are updated in place."""
import cases
import inputs
import pytest
import signature
import torch
from test_model_calls import NUMPY, TOLERANCE, marked

import fla.lang

SIZES = {"64x64": (64, 64), "64x128": (64, 128)}


@pytest.fixture(params=SIZES)
def sizes(request, monkeypatch):
    K, V = SIZES[request.param]
    monkeypatch.setitem(inputs.SIZES, "K", K)
    monkeypatch.setitem(inputs.SIZES, "V", V)


@pytest.mark.parametrize("T", [1, 2, 5])
@pytest.mark.parametrize("stem", [marked(stem) for stem in signature.STEMS])
def test_a_few_tokens(stem, T, sizes):
    dtype = torch.float32
    case = cases.make(stem, 2, T, 2, "weak", dtype=NUMPY[dtype])
    tensor = lambda x: torch.from_numpy(x).to(dtype).contiguous()  # noqa: E731
    pools = [torch.cat([torch.full_like(tensor(s)[:1], 7.0), tensor(s)]) for s in case.initial]
    *outputs, _ = fla.lang.load(stem)(
        **{name: tensor(x) for name, x in case.tensors.items()}, **case.values, initial_state=pools,
        state_indices=torch.tensor([1, 2]), inplace_final_state=True, form="recurrent")
    assert cases.relative_error(outputs[0], case.expected) <= TOLERANCE[dtype]
    for state, pool, wanted in zip(case.definition.states, pools, case.finals):
        assert cases.relative_error(pool[1:], wanted) <= TOLERANCE[dtype], state.name
        assert (pool[0] == 7).all(), state.name
