"""Tensors of a launch that share memory."""

import random

import pytest
import torch
from fla.lang import load
from fla.lang.launches import Layout
from fla.lang.programs import ALWAYS, Launch, Program, _manifest, ask
from fla.lang.room import ALIGNMENT, Room


def test_tensors_that_live_at_once_lie_side_by_side():
    room = Room()
    assert [room.place(n, (0, 3)) for n in (100, 300, 1)] == [0, ALIGNMENT, 3 * ALIGNMENT]
    assert room.size == 4 * ALIGNMENT


def test_a_place_is_taken_again_when_its_tensor_is_no_longer_needed():
    room = Room()
    assert room.place(1000, (0, 1)) == 0
    assert room.place(300, (1, 2)) == 1024  # the first is still read by kernel 1
    assert room.place(1000, (2, 3)) == 0
    assert room.place(10, (4, 4)) == 0
    assert room.size == 1536


def test_an_empty_tensor_takes_nothing():
    room = Room()
    assert (room.place(0, (0, 0)), room.size) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_no_two_that_live_at_once_overlap(seed):
    r, room, placed = random.Random(seed), Room(), []
    for first in sorted(r.randrange(12) for _ in range(40)):
        size, life = r.randrange(1, 5000), (first, first + r.randrange(5))
        begin = room.place(size, life)
        assert begin % ALIGNMENT == 0 and begin + size <= room.size
        for other, behind, (a, b) in placed:
            assert life[0] > b or life[1] < a or begin >= behind or begin + size <= other
        placed.append((begin, begin + size, life))
    assert room.size < sum(behind - begin for begin, behind, _ in placed)


def test_what_kernels_leave_for_each_other_shares_memory():
    options = {"target": "cuda:sm_90", "dims": {"K": 128, "V": 128}, "dtype": "f32", "dtypes": {}, "form": "chunk", "direction": "backward",
               "states": "save", "precision": "ieee"}
    program = Program(None, *_manifest(ask("compile", load("kda").definition(), options).manifest))
    temporaries = program.rows("temp")
    assert all(first < last for first, last in (spec.life for spec in temporaries))  # one writes it, a later one reads it
    assert all(spec.life == (0, ALWAYS) for spec in program.args if spec.role != "temp")
    launch = Launch(batch=2, tokens=300, heads=2, sequences=2)
    layout = Layout(program, launch, torch.device("meta"))
    for spec in temporaries:
        layout.share(spec, "temp")
    (_, ((size,), _, dtype), parts), = layout.made
    apart = sum(layout.like(spec).numel() * spec.dtype.itemsize for spec in temporaries)
    assert dtype == torch.uint8 and len(parts) == len(temporaries) and size < 0.9 * apart
