"""GPU programs on a driver that records what it is asked: parameters, grids, modules, errors.

Everything between a call and the driver is real; see fake_gpu.py. Results of the
kernels themselves are the business of the simulator and of test_device_cuda.py.
"""

import gc
import json
import threading

import pytest
import torch

import fake_gpu
from fake_gpu import OPTIONS, TARGET, launch
from fla import _native
from fla.lang import load

pytestmark = pytest.mark.skipif(fake_gpu.compiler() is None, reason="no C compiler to build the fake driver with")


def test_the_manifest_says_how_to_launch(program):
    handle, _ = program()
    facts = json.loads(handle.manifest)
    kernel = facts["kernels"][0]
    assert facts["target"] == TARGET and facts["format"] == "ptx" and facts["cached"]
    assert kernel["threads"] == 128 and len(kernel["args"]) == len(facts["args"])


def test_parameters_and_grid(program, driver):
    handle, manifest = program()
    launch(handle, manifest)
    (seen,) = driver.launches
    kernel = manifest["kernels"][0]
    buffers = [n for i in kernel["args"] for n in (1000 + i, 10 * i + 1, 10 * i + 2, 10 * i + 3, 1)]
    assert seen["values"] == [*buffers, 150, 3, 2, 0]
    assert (seen["grid"], seen["threads"], seen["shared"]) == (2 * 3, 128, 66000)
    assert (seen["kernel"], seen["stream"], seen["device"]) == (kernel["name"], 77, 0)


def test_groups_of_heads(program, driver):
    handle, manifest = program()
    flat = [n for _ in manifest["args"] for n in (8, 1, 1, 1, 2)]
    _native.native().Launcher(handle, flat, [1, 10, 6, 1, 0], 0).launch(flat[::5], 0, 0)
    assert driver.launches[0]["values"][4] == 3
    flat[4] = 4
    with pytest.raises(RuntimeError, match="expected a head count of .* that divides 6, got 4"):
        _native.native().Launcher(handle, flat, [1, 10, 6, 1, 0], 0).launch(flat[::5], 0, 0)


@pytest.mark.parametrize("batch, tokens, heads, sequences, grid", [
    (1, 150, 3, 4, (150 // 64 + 4) * 3 * 2), (5, 33, 2, 5, (5 * 33 // 64 + 5) * 2 * 2), (1, 0, 2, 3, 3 * 2 * 2)])
def test_the_grid_over_chunks(program, driver, batch, tokens, heads, sequences, grid):
    handle, manifest = program(over_chunks=True, blocks=2, chunk=64)
    launch(handle, manifest, (batch, tokens, heads, sequences, 4096 if batch == 1 else 0))
    assert driver.launches[0]["grid"] == grid
    assert driver.launches[0]["values"][-1] == (4096 if batch == 1 else 0)


@pytest.mark.parametrize("sizes", [(0, 10, 3, 0, 0), (2, 10, 0, 2, 0), (1, 10, 3, 0, 4096)])
def test_an_empty_grid_launches_nothing(program, driver, sizes):
    handle, manifest = program()
    launch(handle, manifest, sizes)
    assert driver.launches == []


def test_modules_are_loaded_once_a_context(program, driver):
    handle, manifest = program()
    for device in (0, 0, 1, 0, 1):
        launch(handle, manifest, device=device)
    assert driver["fake_loads"] == 2 and [x["device"] for x in driver.launches] == [0, 0, 1, 0, 1]
    del handle
    gc.collect()
    assert driver["fake_unloads"] == 2


def test_threads_share_a_module(program, driver):
    handle, manifest = program()
    driver.library.fake_select(0)
    workers = [threading.Thread(target=launch, args=(handle, manifest)) for _ in range(8)]
    for step in (threading.Thread.start, threading.Thread.join):
        for worker in workers:
            step(worker)
    assert driver["fake_loads"] == 1 and driver["fake_launches"] == 8


def test_the_callers_context_is_kept(program, driver):
    handle, manifest = program()
    launch(handle, manifest, device=1)
    assert driver["fake_depth"] == 0  # none was current
    driver.library.fake_select(0)
    launch(handle, manifest, device=1)
    launch(handle, manifest, device=0)
    assert driver["fake_depth"] == 1 and [x["device"] for x in driver.launches] == [1, 1, 0]


def test_modules_load_during_a_capture(program, driver):
    """A load is an error to a capture unless the thread says otherwise meanwhile."""
    handle, manifest = program()
    launch(handle, manifest)
    assert driver["fake_load_mode"] == 2 and driver["fake_capture_mode"] == 0


# Errors: what was expected, what was found, what would work.

def failing(program, text, sizes=(2, 150, 3, 2, 0), device=0, **changes):
    handle, manifest = program(**changes)
    with pytest.raises(RuntimeError, match=text):
        launch(handle, manifest, sizes, device)


def test_no_driver(program, monkeypatch):
    monkeypatch.setenv("FLA_CUDA_DRIVER", "/nowhere/libcuda.so.1")
    failing(program, "expected NVIDIA's CUDA driver, got: /nowhere/libcuda.so.1.*install NVIDIA's driver 525 or newer, or "
                     "point FLA_CUDA_DRIVER at its libcuda.so.1")


def test_something_else_than_a_driver(program, monkeypatch):
    monkeypatch.setenv("FLA_CUDA_DRIVER", "libm.so.6")
    failing(program, "expected the function cuInit in NVIDIA's CUDA driver .libm.so.6., which lacks it")


def test_no_device(program, monkeypatch, driver, tmp_path):
    """Under another name, since a driver that opened stays open."""
    other = tmp_path / "other.so"
    other.write_bytes(driver.path.read_bytes())
    monkeypatch.setenv("FLA_CUDA_DRIVER", str(other))
    fake_gpu.Driver(other)["fake_init_result"] = 100
    failing(program, r"CUDA: cuInit: no CUDA-capable device is detected \(CUDA_ERROR_NO_DEVICE\)")


def test_a_device_that_is_not_there(program):
    failing(program, r"CUDA: expected a device that this process sees \(CUDA_VISIBLE_DEVICES\), got number 7", device=7)


def test_another_chip(program, driver):
    driver["fake_capability"] = 80
    failing(program, r"kernels for sm_90 \(ptx\) do not run on device 0, which is sm_80; expected a program for the "
                     "target 'cuda:sm_80'")
    driver["fake_capability"] = 120
    handle, manifest = program()
    launch(handle, manifest)  # PTX runs on newer devices


def test_an_old_driver(program, driver):
    driver["fake_load_result"], driver["fake_version"] = 222, 12020
    failing(program, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION.*the driver is for CUDA 12.2, PTX 8.3 needs CUDA 12.3 or newer: "
                     "update the driver, or compile where ptxas is installed")


def test_what_the_ptx_compiler_says(program, driver):
    driver["fake_load_result"], driver["fake_jit_log"] = 218, b"ptxas fatal: line 3"
    failing(program, "cannot load ptx for sm_90.*the PTX compiler says: ptxas fatal: line 3")


def test_too_little_shared_memory(program, driver):
    driver["fake_shared_limit"] = 65000
    failing(program, r"needs 66000 bytes of shared memory a block, device 0 \(sm_90\) has 65000; a smaller chunk_size")


def test_too_many_threads(program):
    failing(program, "needs 2048 threads a block, device 0 .sm_90. has 1024", threads=2048)


def test_a_launch_that_fails(program, driver):
    driver["fake_launch_result"] = 701
    failing(program, "CUDA: launch of '.*' with 6 blocks: .*CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES.*a smaller chunk_size may")


def test_too_many_blocks(program):
    failing(program, "expected at most 2147483647 blocks in a launch, got 4294967296", sizes=(65536, 1, 65536, 65536, 0))


def test_sizes_that_disagree(program):
    failing(program, "expected as many sequences as batch entries without cu_seqlens", sizes=(2, 10, 3, 1, 0))
    failing(program, "expected batch 1 with cu_seqlens, got 2", sizes=(2, 10, 3, 1, 4096))


def test_programs_run_where_they_belong(program):
    handle, _ = program()
    with pytest.raises(RuntimeError, match="expected a program for the CPU, got one for 'cuda:sm_90'"):
        _native.native().run(handle, [], [1, 1, 1, 1, 0], 1)
    host = _native.native().compile(load("gated_delta_rule").definition().text, json.dumps({**OPTIONS, "target": "cpu"}))
    with pytest.raises(RuntimeError, match="expected a program for a GPU .*, got one for the CPU; it runs with fla_run"):
        _native.native().Launcher(host, [], [1, 1, 1, 1, 0], 0).launch([], 0, 0)


def test_unknown_targets():
    for target in ("gpu", "cuda", "hip:", "metal:m1"):
        with pytest.raises(RuntimeError, match="'target': expected 'cpu', 'cuda:' and a chip .*got '" + target):
            _native.native().compile("", json.dumps({"target": target}))


def test_offsets_are_read_on_request_alone(program, driver, monkeypatch):
    handle, manifest = program()
    offsets = torch.tensor([0, 40, 20, 60])
    launch(handle, manifest, (1, 60, 2, 3, offsets.data_ptr()))
    assert driver["fake_reads"] == 0
    monkeypatch.setenv("FLA_CHECK_OFFSETS", "1")
    with pytest.raises(RuntimeError, match="expected cu_seqlens not to fall, got 40 before 20"):
        launch(handle, manifest, (1, 60, 2, 3, offsets.data_ptr()))
    assert driver["fake_reads"] == 1 and len(driver.launches) == 1
    driver["fake_capturing"] = 1
    launch(handle, manifest, (1, 60, 2, 3, offsets.data_ptr()))
    assert driver["fake_reads"] == 1 and len(driver.launches) == 2


def test_hip(program, driver):
    handle, manifest = program(target="hip:gfx942", shared=1024)
    launch(handle, manifest)
    launch(handle, manifest, device=1)
    assert driver["fake_loads"] == 2 and driver["fake_launches"] == 2
    assert driver.launches[0]["values"][-4:] == [150, 3, 2, 0] and driver.launches[0]["grid"] == 6
    failing(program, "kernels for gfx90a .* do not run on device 0, which is gfx942; expected a program for the target "
                     "'hip:gfx942'", target="hip:gfx90a", shared=1024)
    failing(program, r"HIP: expected one of the 2 devices that this process sees \(HIP_VISIBLE_DEVICES\), got number 5",
            target="hip:gfx942", device=5)
    failing(program, "needs 66000 bytes of shared memory a block, device 0 .gfx942. has 65536", target="hip:gfx942")


def test_no_hip(program, monkeypatch):
    monkeypatch.setenv("FLA_HIP_DRIVER", "/nowhere/libamdhip64.so")
    failing(program, "expected AMD's HIP runtime, got: /nowhere/.*install ROCm", target="hip:gfx942")
