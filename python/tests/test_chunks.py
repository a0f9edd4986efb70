"""Saved states belong to chunks: both directions of a definition must choose the same one."""

import json
import re
from pathlib import Path

import pytest

from fla import _native
from fla.lang import load

STEMS = sorted(p.stem for p in (Path(__file__).parents[2] / "lib" / "Models").glob("*.mlir"))


def chunks(definition, target, direction):
    """Tokens of a chunk, of each kernel."""
    options = {"target": target, "direction": direction, "states": "save", "until": "kernelize"}
    if target != "cpu":
        options["dims"] = {**dict.fromkeys("KVPNMR", 64), "D": 16, **definition.sizes}
    return set(re.findall(r" chunk = (\d+)", _native.native().phase(definition.text, json.dumps(options))))


@pytest.mark.parametrize("target", ["cpu", "cuda:sm_90", "hip:gfx942"])
@pytest.mark.parametrize("stem", STEMS)
def test_directions_share_the_chunk(stem, target):
    definition = load(stem).definition()
    forward = chunks(definition, target, "forward")
    assert len(forward) == 1
    assert chunks(definition, target, "backward") == forward
