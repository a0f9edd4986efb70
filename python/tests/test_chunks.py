"""Saved states belong to chunks: both directions of a definition must choose the same one."""

import json
import re
from pathlib import Path

import pytest

from fla import _native
from fla.lang import load

STEMS = sorted(p.stem for p in (Path(__file__).parents[2] / "lib" / "Models").glob("*.mlir"))


def chunks(text, direction):
    options = {"direction": direction, "states": "save", "until": "kernelize"}
    return set(re.findall(r"chunk = (\d+)", _native.native().phase(text, json.dumps(options))))


@pytest.mark.parametrize("stem", STEMS)
def test_directions_share_the_chunk(stem):
    text = load(stem).definition().text
    forward = chunks(text, "forward")
    assert len(forward) == 1
    assert chunks(text, "backward") == forward
