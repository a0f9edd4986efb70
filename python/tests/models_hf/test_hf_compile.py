"""torch.compile(model, fullgraph=True): no graph break, and what eager computes.

By inductor where there is a C++ compiler, which it wants on a CPU, else by aot_eager.
"""
import copy
import functools
import shutil

import pytest
import torch
from hf_small import KINDS, small, tokens, tolerance

BACKEND = "inductor" if shutil.which("g++") or shutil.which("clang++") else "aot_eager"
QUICK = ["gla", "gated_deltanet", "mom"]      # plain, with convolutions, and with routes that depend on values


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def limit(kind: str) -> float:
    return tolerance(kind) if kind == "bitnet" else 1e-5


@torch.no_grad()
def forward_is_the_same(kind, backend):
    model, ids = small(kind), tokens(2, 40)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    got = compiled(ids, use_cache=False).logits      # before eager: nothing may depend on a call before
    assert (got - model(ids, use_cache=False).logits).abs().max() <= limit(kind)


def training_is_the_same(kind, backend):
    model, ids = copy.deepcopy(small(kind)).train(), tokens(2, 40)
    results = []
    for run in (torch.compile(model, fullgraph=True, backend=backend), model):
        model.zero_grad()
        out = run(ids, labels=ids)
        logits = out.logits.detach().clone()      # eager's gradient overwrites them
        out.loss.backward()
        results.append((out.loss.detach(), logits, [p.grad.clone() for p in model.parameters()]))
    (loss, logits, got), (eager_loss, eager_logits, want) = results
    assert abs(loss - eager_loss) <= limit(kind) and (logits - eager_logits).abs().max() <= limit(kind)
    norm = functools.partial(torch.linalg.vector_norm, dtype=torch.float64)
    assert norm(torch.stack([norm(a - b) for a, b in zip(got, want)])) <= 10 * limit(kind) * norm(torch.stack(list(map(norm, want))))


@pytest.mark.parametrize("kind", QUICK)
def test_a_forward_is_one_graph(kind):
    forward_is_the_same(kind, "aot_eager")


@pytest.mark.parametrize("kind", QUICK)
def test_a_training_step_is_one_graph(kind):
    training_is_the_same(kind, "aot_eager")


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_forward(kind):
    forward_is_the_same(kind, BACKEND)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_training_step(kind):
    training_is_the_same(kind, BACKEND)
