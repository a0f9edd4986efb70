"""What benchmarks/gpu.py judges by, on the CPU: order of tasks, copies, allowances, workers that die."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import definitions  # noqa: E402
import gpu  # noqa: E402
import gpu_accuracy  # noqa: E402
import gpu_cases  # noqa: E402
import workers  # noqa: E402
from fla.lang import load  # noqa: E402


def task(definition="gla", dtypes=("bf16",), width=64):
    return gpu_accuracy.Task(definition, dtypes, width, "cpu")


def test_precisions_of_one_storage_type_are_one_task():
    tasks = gpu_accuracy.chosen_tasks(["a", "b"], ["bf16", "f32", "tf32"], [64, 128], "cpu")
    assert [(t.definition, t.dtypes, t.width) for t in tasks[:3]] == [("a", ("bf16",), 64), ("b", ("bf16",), 64), ("a", ("bf16",), 128)]
    assert tasks[4].dtypes == ("f32", "tf32")
    assert len(tasks) == 8


def test_long_tasks_come_first_within_a_storage_type():
    todo = gpu_accuracy.chosen_tasks(["a", "b"], ["bf16", "f16"], [128, 256], "cpu")
    done = [(task("a"), {"seconds": {"device": 4.0}}, ""), (task("b"), {"seconds": {"device": 9.0}}, ""), (task("c"), None, "it failed")]
    order = []
    while todo:
        order.append(todo.pop(gpu_accuracy.next_task(todo, done)))
    assert [(t.definition, t.width) for t in order[:4]] == [("b", 256), ("b", 128), ("a", 256), ("a", 128)]
    assert {t.dtypes for t in order[4:]} == {("f16",)}


def test_what_is_not_known_yet_keeps_its_place():
    todo = gpu_accuracy.chosen_tasks(["a", "b"], ["bf16"], [64, 128], "cpu")
    assert gpu_accuracy.next_task(todo, []) == 0


def test_copies_to_a_device_and_back_are_exact():
    tensors = {"x": torch.randn(3, 5).bfloat16(), "none": torch.empty(0, 4), "y": torch.randn(7), "z": torch.full((2,), -torch.inf).half()}
    there = gpu_cases.put(definitions.Call(tensors, {}, (torch.randn(2, 2),)), "cpu")
    assert all(x.requires_grad and x.is_leaf for x in there.tensors.values())
    back = gpu_cases.fetch(there.tensors)
    for name, x in tensors.items():
        assert back[name].shape == x.shape
        assert torch.equal(back[name], x.float())
    assert [x.requires_grad for x in gpu_cases.put_all([torch.ones(2)], "cpu")] == [False]


def test_errors_are_relative_and_nan_never_passes():
    ones = torch.ones(100)
    assert gpu_cases.relative_error(ones * 1.01, ones) == pytest.approx(0.01, rel=1e-3)
    assert gpu_cases.relative_error(ones * torch.nan, ones) == 1e30
    assert gpu_cases.relative_error(torch.tensor([-torch.inf, 1]), torch.tensor([-torch.inf, 1])) == 0
    assert gpu_cases.relative_error(torch.ones(0), torch.ones(1, 0)) == float("inf")


@pytest.fixture(scope="module")
def case():
    return gpu_cases.ExactCase(load("precond_kda"), "precond_kda", definitions.Case("weak", tokens=20), 16, torch.bfloat16)


def test_roundings_leave_gates_and_parameters_alone(case):
    moved = gpu_cases._moved(case.exact, case.definition, 2.0**-8, torch.Generator().manual_seed(0))
    unmoved = {n for n, x in moved.tensors.items() if torch.equal(x, case.exact.tensors[n])}
    assert unmoved == {"g", "g_atk", "log_atk_scale"}
    for n, x in moved.tensors.items():
        assert ((x - case.exact.tensors[n]).abs() <= 2.0**-8 * case.exact.tensors[n].abs()).all()
    assert not torch.equal(moved.initial[0], case.exact.initial[0])


def test_what_roundings_change_grows_with_them(case):
    coarse, fine = (case.moves("forward", unit)["output 0"] for unit in (2.0**-8, 2.0**-11))
    assert 2.0**-10 < coarse < 2.0**-6
    assert coarse / fine == pytest.approx(8, rel=0.1)


def test_an_error_beyond_both_tolerances_fails_and_is_listed(case):
    trial = gpu_accuracy._Trial(task("precond_kda"))
    wrong = {n: x * (1 + e) for (n, x), e in zip(case.forward.items(), (0.9, 0.006, 0.0))}
    trial.judge(case, "bf16", "forward", wrong)
    (row,) = trial.rows
    assert row.worst == "output 0" and row.error > row.tolerance
    names = [name for name, *_ in row.beyond]
    assert names == ["output 0", "final S"]
    assert row.beyond[1][2] == pytest.approx(max(5e-3, 2 * case.moves("forward", 2.0**-8)["final S"]))


def test_allowances_are_printed_with_what_they_allow():
    row = {"definition": "gsa", "dtype": "bf16", "beyond": [("q", 0.02, 0.2, "ill-conditioned inputs"), ("k", 0.3, 0.2, "ill-conditioned inputs")]}
    assert gpu_accuracy.allowances([row]) == ["1 results beyond the usual tolerance, ill-conditioned inputs, 1 of them allowed more than 0.1:",
                                              "  gsa q (bf16), 1: at most 2.0e-02, allowed 2.0e-01"]


def test_a_row_of_the_results_is_a_line():
    facts = {"device": "x", "accuracy": {"rows": [{"a": 1, "b": [1, 2]}, {"a": 2, "b": []}], "left_out": ["y"], "none": []}}
    text = gpu.as_json(facts)
    assert json.loads(text) == facts
    assert '\n   {"a": 1, "b": [1, 2]},\n' in text


def work(number):
    if number == 1:
        os._exit(7)
    if number == 2:
        raise ValueError("CUDA: broken")
    if number == 3:
        time.sleep(60)
    return number


@pytest.mark.parametrize("forked, tasks", [(False, [1, 2, 4]), (True, [1, 2, 3, 4, 5])])
def test_a_worker_that_dies_loses_its_task_alone(forked, tasks):
    begun = []

    def choose(todo, _):
        begun.append(todo[-1])
        return len(todo) - 1

    each = 10 if forked else 60  # a process of its own imports torch first
    done, left = workers.run_tasks(work, tasks, time.monotonic() + 120, each=each, jobs=2, choose=choose, forked=forked)
    problems = {1: "its process ended with status 7", 2: "ValueError: CUDA: broken", 3: "it took more than 10 s", 4: "", 5: ""}
    assert {number: problem for number, _, problem in done} == {number: problems[number] for number in tasks}
    assert not left
    assert begun == tasks[::-1]


def test_what_the_time_does_not_allow_is_left_out():
    assert workers.run_tasks(work, [1, 2], time.monotonic() - 1) == ([], [1, 2])
