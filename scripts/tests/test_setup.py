"""The scripts of the front door: what they say, and that they touch nothing they should not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command, **environment):
    return subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, **environment})


def test_another_system_gets_the_list_of_packages(tmp_path):
    release = tmp_path / "os-release"
    release.write_text('ID=fedora\nVERSION_ID=44\nPRETTY_NAME="Fedora Linux 44"\n')
    done = run("scripts/setup.sh", FLA_OS_RELEASE=str(release), FLA_SKIP_PACKAGES="0")
    assert done.returncode == 1 and done.stdout == ""
    assert "expected Debian 12, got Fedora Linux 44" in done.stderr
    for name in ("clang-22", "libmlir-22-dev", "ninja-build", "FLA_SKIP_PACKAGES=1"):
        assert name in done.stderr


def test_packages_can_be_left_alone(tmp_path):
    release = tmp_path / "os-release"
    release.write_text("ID=other\n")
    done = run("scripts/setup.sh", "packages", FLA_OS_RELEASE=str(release), FLA_SKIP_PACKAGES="1")
    assert done.returncode == 0 and "no package is looked for" in done.stdout


def test_setup_refuses_an_unknown_word():
    done = run("scripts/setup.sh", "everything")
    assert done.returncode == 2 and "expected packages, python or nothing, got 'everything'" in done.stderr


@pytest.mark.parametrize("names, status", [(["torch", "nvidia-cublas"], 0), (["torch", "numpy"], 1)])
def test_cuda_libraries_are_noticed(names, status):
    report = json.dumps({"install": [{"metadata": {"name": name}} for name in names]})
    done = subprocess.run([sys.executable, ROOT / "scripts" / "names_cuda.py"], input=report, text=True)
    assert done.returncode == status


def test_generated_documentation_is_fresh():
    done = run("scripts/generate-docs.sh", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_help_lists_the_targets():
    done = run("make", "help")
    for target in ("setup", "build", "demo", "test", "test-long", "docs", "format", "clean"):
        assert f"\n  {target} " in "\n" + done.stdout
