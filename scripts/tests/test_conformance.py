"""The runner of another library's tests: what it records, that it goes on, and what it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import conformance  # noqa: E402

FILE = """
import os, pytest
@pytest.mark.parametrize("i", range(3))
def test_passes(i):
    open(os.environ["LOG"], "a").write(f"{i}\\n")
def test_fails():
    assert 1 == 2, "one is not two"
def test_is_skipped():
    pytest.skip("no such device")
def test_dies():
    os._exit(7)
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    for folder in conformance.FOLDERS:
        (tmp_path / "suite" / folder).mkdir(parents=True)
    (tmp_path / "suite" / "tests" / "ops" / "test_gla.py").write_text(FILE)
    (tmp_path / "suite" / "tests" / "ops" / "test_nsa.py").write_text("raise RuntimeError('not to be run')\n")
    (tmp_path / "suite" / "tests" / "models" / "test_modeling_base.py").write_text("raise RuntimeError('shared')\n")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path / "suite"


def run(suite, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / "conformance.py"), "run", str(suite), "--results",
               str(suite.parent / "results.json"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ)


def test_results_are_kept_and_a_death_is_a_failure(suite):
    done = run(suite, "--group", "4")
    assert "6 results, 0 tests (or files) without one" in done.stdout, done.stdout + done.stderr
    state = json.loads((suite.parent / "results.json").read_text())
    outcomes = {name.split("::")[1]: row["outcome"] for name, row in state["results"].items()}
    assert outcomes == {"test_passes[0]": "passed", "test_passes[1]": "passed", "test_passes[2]": "passed",
                        "test_fails": "failed", "test_is_skipped": "skipped", "test_dies": "failed"}
    reasons = {name.split("::")[1]: row["reason"] for name, row in state["results"].items()}
    assert "one is not two" in reasons["test_fails"] and reasons["test_dies"] == "the process ended with 7"
    assert "no such device" in reasons["test_is_skipped"]
    assert state["facts"]["fla.utils.device"] in ("cpu", "cuda")

    run(suite)  # everything has a result
    assert (suite.parent / "log").read_text() == "0\n1\n2\n"
    done = run(suite, "--again", "all", "--group", "4")
    assert "FAILED tests/ops/test_gla.py::test_fails" in done.stdout
    assert (suite.parent / "log").read_text() == "0\n1\n2\n" * 2
    assert conformance._due({"outcome": "failed"}, "failed") and not conformance._due({"outcome": "passed"}, "failed")

    with pytest.raises(SystemExit, match="got none for 2"):
        conformance.page(state, {})
    text = conformance.page(state, {"test_fails": "one is not two", "test_dies": "it wants to"})
    assert "| `tests/ops/test_gla.py` | 3 | 2 | 1 | 60.0 % |" in text
    assert "- `tests/ops/test_gla.py::test_dies`: it wants to" in text and "- 1 × no such device" in text
    del state["results"]["tests/ops/test_gla.py::test_fails"]
    with pytest.raises(SystemExit, match="1 have none"):
        conformance.page(state, {"test_dies": "it wants to"})


def test_several_at_once(suite):
    (suite / "tests" / "ops" / "test_gsa.py").write_text("def test_passes():\n    pass\n")
    (suite / "tests" / "modules" / "test_conv.py").write_text("def test_other_folder():\n    pass\n")
    done = run(suite, "--jobs", "2", "--group", "1", "--folder", "tests/ops")
    assert "7 results, 0 tests (or files) without one" in done.stdout, done.stdout + done.stderr
    state = json.loads((suite.parent / "results.json").read_text())
    assert sorted(r["outcome"] for r in state["results"].values()) == ["failed"] * 2 + ["passed"] * 4 + ["skipped"]
    assert sorted(Path(f).name for f in state["collected"]) == ["test_gla.py", "test_gsa.py"]
    done = run(suite, "--again", "all", "--device", "tpu")
    assert done.returncode == 1 and "expected fla.utils.device to be tpu" in done.stderr


def test_a_test_without_an_end_is_not_tried_for_ever(tmp_path, monkeypatch):
    def runs_out_of_time(suite, stream, *arguments, timeout):
        stream.write_text(json.dumps({"test": "test_waits", "outcome": "started"}) + "\n")

    monkeypatch.setattr(conformance, "_pytest", runs_out_of_time)
    assert conformance._run_some(tmp_path, ["test_waits"], tmp_path / "stream", 60) == {}  # it had too little time
    found = conformance._run_some(tmp_path, ["test_waits"], tmp_path / "stream", 420)
    assert found["test_waits"]["outcome"] == "failed" and found["test_waits"]["reason"] == "no result in 420 seconds"


def test_results_are_added_to_others(tmp_path):
    row = lambda outcome: {"outcome": outcome}
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps({"collected": {"f": ["a", "b"]}, "results": {"a": row("failed"), "b": row("passed")}}))
    new.write_text(json.dumps({"collected": {"g": ["c"]}, "results": {"a": row("passed"), "c": row("skipped")},
                               "facts": {"memory": "1 GiB"}}))
    conformance.merge(new, old)
    assert json.loads(old.read_text()) == {
        "collected": {"f": ["a", "b"], "g": ["c"]}, "facts": {"memory": "1 GiB"},
        "results": {"a": row("passed"), "b": row("passed"), "c": row("skipped")}}


def test_results_stay_out_of_the_repository():
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "conformance.py"), "table", "--results",
                           str(ROOT / "results.json")], capture_output=True, text=True)
    assert done.returncode == 2 and "expected a file outside" in done.stderr


def test_the_committed_page_is_what_the_notes_explain():
    notes = json.loads(conformance.NOTES.read_text())
    assert all(isinstance(k, str) and isinstance(v, str) and v for k, v in notes.items())
