"""Programs that come again on a stream: recorded, then started at once with new parameters."""

import gc
import json
import threading

import pytest

import fake_gpu
from fake_gpu import OPTIONS, launch
from fla import _native
from fla.lang import load

pytestmark = pytest.mark.skipif(fake_gpu.compiler() is None, reason="no C compiler to build the fake driver with")


def addresses(driver):
    return [x["values"][0] for x in driver.launches]


def test_a_program_that_comes_again_is_replayed(program, driver):
    handle, manifest = program()
    for i in range(6):
        launch(handle, manifest, start=1000 * i, sizes=(2 + i, 150, 3, 2 + i, 0))
    assert driver["fake_graphs"] == 1 and driver["fake_replays"] == 4
    assert addresses(driver) == [0, 1000, 2000, 3000, 4000, 5000]  # each with its own parameters
    assert [x["grid"] for x in driver.launches] == [3 * (2 + i) for i in range(6)]
    assert {x["stream"] for x in driver.launches} == {77} and driver["fake_capture_mode"] == 0
    del handle
    gc.collect()
    assert driver["fake_graphs"] == 0 and driver["fake_unloads"] == 1


def test_kernels_of_a_recording_keep_their_order(gpu, program):
    _, manifest = program()
    source, options, code = load("gated_delta_rule").definition().text, json.dumps(OPTIONS), ".version 8.3 three"
    names = ["three", "one", "two"]
    rows = [{**manifest["kernels"][0], "name": name} for name in names]
    fake_gpu.write_entry(gpu.cache, source, options, {**manifest, "kernels": rows}, code.encode())
    gpu.driver.parameters.update({(code, name): 5 * len(manifest["args"]) + 4 for name in names})
    handle = _native.native().compile(source, options)
    for i in range(5):
        launch(handle, manifest, start=1000 * i)
    assert gpu.driver["fake_replays"] == 3
    assert [(x["kernel"], x["values"][0]) for x in gpu.driver.launches] == [(n, 1000 * i) for i in range(5) for n in names]


def test_a_recording_for_each_stream_and_context(program, driver):
    handle, manifest = program()
    for i in range(4):
        for stream in (5, 6):
            for device in (0, 1):
                launch(handle, manifest, start=i, stream=stream, device=device)
    assert driver["fake_graphs"] == 4 and driver["fake_replays"] == 8 and driver["fake_depth"] == 0
    assert [(x["stream"], x["device"]) for x in driver.launches] == [(5, 0), (5, 1), (6, 0), (6, 1)] * 4


def test_streams_without_end_are_not_all_recorded(program, driver):
    handle, manifest = program()
    for stream in range(100, 140):
        for i in range(4):
            launch(handle, manifest, start=i, stream=stream)
    assert driver["fake_graphs"] == 16 and driver["fake_launches"] == 160


@pytest.mark.parametrize("fact", ["fake_capturing", "fake_priority"])
def test_streams_that_are_not_replayed_on(program, driver, fact):
    """A capture takes launches, and nodes of a graph do not have their stream's priority."""
    handle, manifest = program()
    driver[fact] = 1
    for i in range(5):
        launch(handle, manifest, start=i)
    assert driver["fake_graphs"] == driver["fake_replays"] == 0 and addresses(driver) == list(range(5))
    driver[fact] = 0
    for i in range(4):
        launch(handle, manifest, start=i)
    driver[fact] = 1
    launch(handle, manifest, start=4)
    assert driver["fake_replays"] == 2 and addresses(driver) == [*range(5), *range(5)]


@pytest.mark.parametrize("variable", ["FLA_REPLAY=0", "CUDA_LAUNCH_BLOCKING=1"])
def test_replaying_is_turned_off(program, driver, monkeypatch, variable):
    handle, manifest = program()
    monkeypatch.setenv(*variable.split("="))
    for i in range(5):
        launch(handle, manifest, start=i)
    assert driver["fake_graphs"] == 0 and addresses(driver) == list(range(5))


@pytest.mark.parametrize("refusal", ["fake_graph_result", "fake_set_result", "fake_replay_result"])
def test_a_driver_that_refuses_launches_each(program, driver, refusal):
    handle, manifest = program()
    driver[refusal] = 1
    for i in range(5):
        launch(handle, manifest, start=i)
    assert driver["fake_graphs"] == driver["fake_replays"] == 0 and addresses(driver) == list(range(5))
    driver["fake_launch_result"] = 701
    with pytest.raises(RuntimeError, match="launch of .* does not fit this device"):
        launch(handle, manifest, start=5)


def test_an_empty_grid_is_no_part_of_a_recording(program, driver):
    handle, manifest = program()
    for i in range(3):
        launch(handle, manifest, start=i)
    launch(handle, manifest, start=3, sizes=(0, 150, 3, 0, 0))
    launch(handle, manifest, start=4)
    assert driver["fake_replays"] == 2 and addresses(driver) == [0, 1, 2, 4]


def test_threads_replay_one_recording(program, driver):
    handle, manifest = program()
    driver.library.fake_select(0)
    for i in range(3):
        launch(handle, manifest, start=i)
    workers = [threading.Thread(target=launch, args=(handle, manifest), kwargs={"start": 100 + i}) for i in range(8)]
    for step in (threading.Thread.start, threading.Thread.join):
        for worker in workers:
            step(worker)
    assert driver["fake_graphs"] == 1 and sorted(addresses(driver)) == [0, 1, 2, *range(100, 108)]
