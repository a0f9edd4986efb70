"""Operators in Python: tensors of the CPU that count as lying on the fake device."""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import fake_gpu
import fla
import fla.knobs
from fake_gpu import STREAM
from fla.lang import Scalar, State, Vec, ahead, devices, exp, launches, load, operators, outer, programs, recurrence
from helpers import gated_delta_inputs, leaf

pytestmark = pytest.mark.skipif(fake_gpu.compiler() is None, reason="no C compiler to build the fake driver with")


@pytest.fixture
def rule():
    @recurrence
    def rule(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar, *, scale: float = 0.25):
        S = exp(g) * S
        S = S + outer(k, beta * (v - S.T @ k))
        return S, scale * (S.T @ q)
    return rule


def results(op, inputs, **kwargs):
    """Outputs, final state and gradients."""
    leaves = [leaf(x) for x in inputs]
    o, final = op(*leaves, output_final_state=True, **kwargs)
    grads = torch.autograd.grad(o.sin().sum() + final.cos().sum(), leaves)
    return [o.detach(), final.detach(), *grads]


@pytest.mark.parametrize("form", ["chunk", "recurrent"])
def test_a_call_and_its_gradients(rule, gpu, monkeypatch, form):
    inputs, packed = gated_delta_inputs(T=70), gated_delta_inputs(B=1, T=70)
    offsets = torch.tensor([0, 20, 20, 65])
    want = [results(rule, inputs, form=form), results(rule, packed, form=form, cu_seqlens=offsets)]
    gpu.attach(monkeypatch)
    got = [results(rule, inputs, form=form), results(rule, packed, form=form, cu_seqlens=offsets)]
    for a, b in zip(want, got):
        assert all(torch.equal(x, y) for x, y in zip(a, b))
    assert {x["stream"] for x in gpu.driver.launches} == {STREAM} and len(gpu.driver.launches) >= 4
    assert not want[1][0][:, 65:].any()


@pytest.mark.parametrize("stem", ["gla", "simple_gla", "gsa", "rwkv6"])
def test_definitions_of_the_library(stem, gpu, monkeypatch):
    """Several states, several kernels, several heads a group, parameters of heads."""
    r = torch.Generator().manual_seed(0)
    op = load(stem)
    shapes = {a.name: [{"K": 16, "V": 16, "M": 8}.get(d, 16) for d in a.dims] for a in op.definition().arguments if a.kind == "token"}
    inputs = {n: -torch.rand(1, 70, 2 if n in "qk" else 4, *s, generator=r) if n[0] in "gsfw" else
              torch.randn(1, 70, 2 if n in "qk" else 4, *s, generator=r) for n, s in shapes.items()}
    inputs |= {a.name: torch.randn(4, 16, generator=r)[(...,) if a.dims else (..., 0)] for a in op.definition().arguments
               if a.kind == "param"}

    def run():
        leaves = {n: leaf(x) for n, x in inputs.items()}
        *outputs, final = op(**leaves, output_final_state=True)
        final = final if isinstance(final, tuple) else (final,)
        total = sum(x.sin().sum() for x in (*outputs, *final))
        return [*outputs, *final, *torch.autograd.grad(total, list(leaves.values()))]

    want = run()
    gpu.attach(monkeypatch)
    for _ in range(2):  # the whole path, then from plans
        assert all(torch.equal(a, b) for a, b in zip(want, run()))


def calls(op):
    """Counts calls that take the whole path."""
    whole, count = op._run, []
    op._run = lambda args, kwargs: (count.append(1), whole(args, kwargs))[1]
    return count


def test_equal_calls_are_planned(rule, attached):
    """The second call of a kind goes straight to the driver, and gives the same."""
    inputs = gated_delta_inputs(B=1, T=70)
    start, offsets = torch.randn(3, 2, 16, 16), torch.tensor([0, 20, 20, 65])
    variants = [{}, {"output_final_state": True}, {"scale": 0.5}, {"initial_state": start[:1]}, {"form": "recurrent"},
                {"initial_state": start, "cu_seqlens": offsets, "output_final_state": True}, {"cu_seqlens": offsets.int()}]
    whole = calls(rule)
    for kwargs in variants:
        first, before = rule(*inputs, **kwargs), len(whole)
        other = [x.clone() for x in inputs]
        again = rule(*other, **kwargs)
        assert len(whole) == before, kwargs
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(first, again)), kwargs
        changed = rule(other[0] * 2, *other[1:], **kwargs)
        assert torch.allclose(changed[0], 2 * first[0]) and len(whole) == before
    assert len(whole) == len(variants)


@pytest.mark.parametrize("states", ["save", "recompute"])
def test_equal_calls_with_gradients_are_planned(rule, attached, states):
    start, offsets = torch.randn(3, 2, 16, 16), torch.tensor([0, 20, 20, 65])
    variants = [{}, {"form": "recurrent"}, {"initial_state": leaf(start), "cu_seqlens": offsets}]
    whole = calls(rule)
    with fla.knobs.override(states=states):
        for count, kwargs in enumerate(variants, 1):
            inputs = gated_delta_inputs(B=1, T=70)
            first = results(rule, inputs, **kwargs)
            assert len(whole) == count
            again = results(rule, [x.clone() for x in inputs], **kwargs)
            assert len(whole) == count and all(torch.equal(a, b) for a, b in zip(first, again))
    # Some gradients alone; none for what did not ask; a second derivative is refused.
    q, k, v, g, beta = gated_delta_inputs(B=1, T=70)
    for _ in range(2):
        o = rule(leaf(q), k, v, leaf(g), beta)[0]
        x = leaf(q)
        (d,) = torch.autograd.grad(rule(x, k, v, leaf(g), beta)[0].sum(), x)
        assert d.shape == q.shape and o.requires_grad
    with pytest.raises(RuntimeError, match="expected a single backward, got a double one"):
        (d,) = torch.autograd.grad(rule(x, k, v, leaf(g), beta)[0].sin().sum(), x, create_graph=True)
        d.sum().backward()


@pytest.fixture
def whole_backwards(monkeypatch):
    """Counts backwards of planned calls that take the operator."""
    count, through = [], operators.Operators.gradients_of
    monkeypatch.setattr(operators.Operators, "gradients_of", lambda self, *a: (count.append(1), through(self, *a))[1])
    return count


def trained(rule, inputs, loss=lambda o, final: o.sin().sum(), **kwargs):
    leaves = [leaf(x) for x in inputs]
    return torch.autograd.grad(loss(*rule(*leaves, **kwargs)), leaves)


LOSSES = {
    "dense": (lambda o, final: o.sin().sum(), {}),
    "expanded": (lambda o, final: o.sum(), {}),
    "strided": (lambda o, final: o.sin().transpose(-1, -2).sin().sum() + (o.transpose(0, 1) * o.transpose(0, 1)).sum(), {}),
    "final state alone": (lambda o, final: final.sin().sum(), {"output_final_state": True}),
    "output alone": (lambda o, final: o.sin().sum(), {"output_final_state": True}),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_backwards_are_planned(rule, attached, whole_backwards, loss):
    inputs, (function, kwargs) = gated_delta_inputs(T=70), LOSSES[loss]
    want = trained(rule, inputs, function, **kwargs)  # the whole path
    assert len(whole_backwards) == 1
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(trained(rule, inputs, function, **kwargs), want))
    assert len(whole_backwards) == 1


def test_a_backward_makes_what_is_wanted_alone(rule, attached, whole_backwards):
    q, k, v, g, beta = inputs = gated_delta_inputs(T=70)
    everything = trained(rule, inputs)
    for _ in range(2):
        x = leaf(v)
        before = len(attached.driver.launches)
        (d,) = torch.autograd.grad(rule(q, k, x, g, beta)[0].sin().sum(), x)
        assert torch.equal(d, everything[2])
    manifest = next(iter([m for _, m in attached.hosts.values() if any(a["role"] == "d_input" for a in m["args"])]))
    names = [manifest["args"][i]["name"] for i in manifest["kernels"][-1]["args"]]
    addresses = dict(zip(names, attached.driver.launches[-1]["values"][::5]))
    assert len(attached.driver.launches) > before
    assert addresses["d_v"] and not any(addresses[f"d_{n}"] for n in ("q", "k", "g", "beta", "final_S", "initial_S"))


def test_hooks_of_saved_tensors(rule, attached, whole_backwards):
    """Tensors come back as copies, laid out in another way; a checkpoint computes them again."""
    inputs = gated_delta_inputs(T=70)
    want = [trained(rule, inputs) for _ in range(2)][0]

    def other(x):
        return x.transpose(0, -1).contiguous().transpose(0, -1) if x.is_floating_point() and x.dim() > 2 else x.clone()

    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone(), other):
        assert all(torch.equal(a, b) for a, b in zip(trained(rule, inputs), want))
    leaves = [leaf(x) for x in inputs]
    o = checkpoint(lambda *xs: rule(*xs)[0], *leaves, use_reentrant=False)
    assert all(torch.equal(a, b) for a, b in zip(torch.autograd.grad(o.sin().sum(), leaves), want))


def test_observers_see_the_operator_of_a_backward(rule, attached, whole_backwards):
    inputs = gated_delta_inputs(T=70)
    want = [trained(rule, inputs) for _ in range(2)][0]
    leaves, before = [leaf(x) for x in inputs], len(whole_backwards)
    loss = rule(*leaves)[0].sin().sum()
    with Watch() as watch:
        got = torch.autograd.grad(loss, leaves)
    assert len(whole_backwards) == before + 1 and any("_backward" in name for name in watch.seen)
    assert all(torch.equal(a, b) for a, b in zip(got, want))


def test_a_planned_call_allocates_little(attached, monkeypatch):
    """Outputs, and one tensor for all that kernels hand to each other."""
    op = load("gsa")
    inputs = {"q": torch.randn(1, 70, 2, 16), "k": torch.randn(1, 70, 2, 16), "v": torch.randn(1, 70, 2, 16),
              "s": torch.randn(1, 70, 2, 8), "g": -torch.rand(1, 70, 2, 8)}
    want = op(**inputs)[0]
    assert torch.equal(op(**inputs)[0], want)
    made, empty = [], torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: (made.append(a), empty(*a, **k))[1])
    assert torch.equal(op(**inputs)[0], want)
    temps = [a for _, m in attached.hosts.values() for a in m["args"] if a["role"] == "temp"]
    assert len(made) == 1 + bool(temps)


def test_a_planned_call_on_another_device_than_the_current_one(rule, attached, monkeypatch):
    """What is quick to allocate lies on the current device, so that has to be the call's."""
    inputs, entered, at = gated_delta_inputs(T=20), [], [1]

    @contextlib.contextmanager
    def device(index):
        before, at[0] = at[0], index
        entered.append(index)
        yield
        at[0] = before

    monkeypatch.setattr(launches, "_current_device", lambda: at[0])
    monkeypatch.setattr(torch.cuda, "device", device)
    want = rule(*inputs)[0]
    prepared = next(iter(rule._plans.known.values())).prepared
    monkeypatch.setattr(prepared, "_quick", True, raising=True)
    assert torch.equal(rule(*inputs)[0], want) and entered == [0] and at == [1]
    at[0] = 0
    assert torch.equal(rule(*inputs)[0], want) and entered == [0]


class Watch(TorchDispatchMode):
    """Notes the operators that run."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def test_plans_tell_tensors_apart_by_place(rule, attached):
    """The same tensor given twice, then two: no mix-up."""
    q, k, v, g, beta = gated_delta_inputs(T=20)
    rule(k, k, v, g, beta)
    whole = calls(rule)
    o = rule(q, k, v, g, beta)[0]
    assert not whole
    assert torch.equal(o, rule(q.clone(), k, v, g, beta, form="auto", chunk_size=None)[0])
    assert torch.equal(rule(beta=beta, g=g, v=v, k=k, q=q)[0], o)
    assert torch.equal(rule(beta=beta, g=g, v=v, k=k, q=q)[0], o)


def test_what_needs_the_whole_path_takes_it(rule, attached):
    q, k, v, g, beta = gated_delta_inputs(T=20)
    strided = q.transpose(-1, -2).contiguous().transpose(-1, -2)  # copied by the call
    o = rule(q, k, v, g, beta)[0]
    whole = calls(rule)
    for _ in range(2):
        assert torch.equal(rule(strided, k, v, g, beta)[0], o)
    assert len(whole) == 2
    rule(leaf(q), k, v, g, beta)[0].sum().backward()
    assert len(whole) == 3  # gradients are wanted for the first time
    with torch.no_grad():
        assert torch.equal(rule(leaf(q), k, v, g, beta)[0], o)
    assert len(whole) == 3
    assert torch.equal(rule(q, k, v, g, torch._neg_view(-beta))[0], o)


def test_observers_see_operators(rule, attached):
    """torch.compile, dispatch modes and transforms get the operator, plan or no plan."""
    inputs = gated_delta_inputs(T=20)
    want = rule(*inputs)[0]
    assert torch.equal(rule(*inputs)[0], want) and rule._plans.known
    with Watch() as watch:
        assert torch.equal(rule(*inputs)[0], want)
    assert any("rule_" in name for name in watch.seen)
    compiled = torch.compile(lambda *xs: 2 * rule(*xs)[0], fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*inputs), 2 * want)


def test_run_time_values_live_on_the_device(rule, attached, monkeypatch):
    inputs = gated_delta_inputs(T=20)
    makes, full = [], torch.full
    monkeypatch.setattr(torch, "full", lambda *a, **k: (makes.append(a), full(*a, **k))[1])
    for scale in (0.5, 0.5, 2.0, 0.5, 2.0):
        rule(*inputs, scale=scale)
    assert len(makes) == 2
    for _ in range(2):
        assert not rule(*inputs, scale=0.0)[0].any()


def test_values_are_not_kept_during_a_capture(attached, monkeypatch):
    monkeypatch.setattr(devices, "_is_capturing", lambda: True)
    a, b = devices.value_address(0.5, 0, STREAM), devices.value_address(0.5, 0, STREAM)
    assert a[0] != b[0] and not devices._VALUES and float(a[1]) == 0.5


def test_nothing_is_read_from_offsets(rule, attached, monkeypatch):
    inputs = gated_delta_inputs(B=1, T=20)
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: pytest.fail("offsets were read"))
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("a value was read"))
    rule(*inputs, cu_seqlens=torch.tensor([0, 5, 20]))


def training_call(rule):
    inputs = [leaf(x) for x in gated_delta_inputs(1, 70)]
    return inputs, rule(*inputs)[0]


@pytest.fixture
def begun(monkeypatch):
    """What calls begin; the fake compiler does one thing at a time."""
    works = []
    monkeypatch.setattr(operators, "begin", works.append)
    with fla.knobs.override(ahead="1"):
        yield works


def test_a_backward_is_compiled_and_loaded_ahead(rule, attached, driver, begun):
    inputs, o = training_call(rule)
    training_call(rule)
    work, = begun
    ahead.begin(work).join()
    compiled, loads = fla.compilations(), driver["fake_loads"]
    assert loads == 2
    o.sum().backward()
    assert (fla.compilations(), driver["fake_loads"]) == (compiled, loads)
    again, want = training_call(rule)
    want.sum().backward()
    for a, b in zip(inputs, again):
        assert torch.equal(a.grad, b.grad)


def test_what_fails_ahead_fails_where_it_is_needed(rule, attached, monkeypatch, begun):
    compile_program = operators.compile_program

    def no_backward(*args, **wanted):
        if wanted["direction"] == "backward":
            raise RuntimeError("no backward today")
        return compile_program(*args, **wanted)

    monkeypatch.setattr(operators, "compile_program", no_backward)
    _, o = training_call(rule)
    ahead.begin(*begun).join()
    with pytest.raises(RuntimeError, match="no backward today"):
        o.sum().backward()


def test_new_sizes_compile_nothing(rule, attached):
    rule(*gated_delta_inputs(T=40))
    programs_before = len(attached.hosts)
    for i in range(5):
        rule(*gated_delta_inputs(B=1 + i % 2, T=33 + i, H=1 + i))
    assert len(attached.hosts) == programs_before


def test_precision_is_part_of_the_program(rule, attached, monkeypatch):
    asked, ask = [], programs.ask
    monkeypatch.setattr(programs, "ask", lambda f, d, o: (asked.append(o.get("precision")), ask(f, d, o))[1])
    inputs = gated_delta_inputs(T=20)
    for setting in ("ieee", "ieee", "tf32", "ieee", "tf32"):
        monkeypatch.setattr(devices, "precision", lambda: setting)
        rule(*inputs)
    assert asked == ["ieee", "tf32"]


def test_precision_follows_pytorch():
    assert devices.precision() == "ieee"
    torch.set_float32_matmul_precision("high")
    try:
        assert devices.precision() == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert devices.precision() == "ieee"


def test_nothing_to_do(rule, attached):
    for _ in range(2):
        o, final = rule(*gated_delta_inputs(T=0), output_final_state=True)
        assert o.shape == (2, 0, 2, 16) and not final.any()
    assert attached.driver.launches == []


def test_bad_calls_on_a_gpu(rule, attached):
    q, k, v, g, beta = gated_delta_inputs(T=20)
    with pytest.raises(ValueError, match="rule: argument 'k': expected a tensor on cpu, as 'q' is, got one on meta"):
        rule(q, k.to("meta"), v, g, beta)
    with pytest.raises(ValueError, match="rule: initial_state 'S': expected a tensor on cpu, as 'q' is, got one on meta"):
        rule(q, k, v, g, beta, initial_state=torch.empty(2, 2, 16, 16, device="meta"))
    with pytest.raises(ValueError, match="rule: cu_seqlens: expected a tensor on cpu, as 'q' is, got one on meta"):
        rule(*(x[:1] for x in (q, k, v, g, beta)), cu_seqlens=torch.empty(2, dtype=torch.int64, device="meta"))
    with pytest.raises(TypeError, match=r"'g': expected dtype float32, bfloat16 or float16 on a GPU \(float64 runs on the CPU\)"):
        rule(q, k, v, g.double(), beta)
    assert attached.driver.launches == []


def test_errors_of_the_driver_reach_the_caller(rule, attached):
    attached.driver["fake_launch_result"] = 700
    for _ in range(2):
        with pytest.raises(RuntimeError, match="CUDA: launch of"):
            rule(*gated_delta_inputs(T=20))
