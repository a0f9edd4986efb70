"""One sequence of one head on several threads: the grid cuts the columns of the state."""

import pytest
import torch

from fla.lang import Scalar, State, Vec, exp, l2norm, outer, recurrence, softmax


@recurrence
def gated(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, S.T @ q


@recurrence
def between_norms(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
    """Sums over V before and after the state: a prologue and an epilogue of their own."""
    k, v = l2norm(k), l2norm(v)
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, softmax(S.T @ q) + v


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def run(op, inputs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    o, final = op(*leaves, output_final_state=True)
    (o.sin().sum() + final.cos().sum()).backward()
    return [o.detach(), final.detach(), *(x.grad for x in leaves)]


@pytest.mark.parametrize("op", [gated, between_norms], ids=lambda op: op.name if hasattr(op, "name") else str(op))
@pytest.mark.parametrize("states", ["save", "recompute"])
def test_blocks_give_the_same_results(op, states, threads):
    import fla.knobs

    torch.manual_seed(0)
    T, K, V = 150, 16, 24
    draw = lambda *shape: torch.randn(1, T, 1, *shape, dtype=torch.float64)  # noqa: E731
    k = torch.nn.functional.normalize(draw(K), dim=-1)
    inputs = [draw(K), k, draw(V), -torch.rand(1, T, 1, dtype=torch.float64), torch.rand(1, T, 1, dtype=torch.float64)]
    with fla.knobs.override(states=states):
        threads(1)
        whole = run(op, inputs)
        for count in (2, 4):
            threads(count)
            for a, b in zip(whole, run(op, inputs)):
                assert (a - b).abs().max() <= 1e-12 * (1 + a.abs().max())
