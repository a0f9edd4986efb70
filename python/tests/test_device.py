"""GPU programs on a driver that records what it is asked: parameters, grids, modules, errors.

Everything between a call and the driver is real; see fake_gpu.py. Results of the
kernels themselves are the business of the simulator and of test_device_cuda.py.
"""

import contextlib
import gc
import json
import re
import threading

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import fake_gpu
import fla
import fla.knobs
from fake_gpu import STREAM, TARGET, FakeGPU
from fla import _native
from fla.lang import Scalar, State, Vec, ahead, devices, exp, launches, load, operators, outer, programs, recurrence
from helpers import gated_delta_inputs, leaf

pytestmark = pytest.mark.skipif(fake_gpu.compiler() is None, reason="no C compiler to build the fake driver with")

OPTIONS = {"target": TARGET, "dims": {"K": 16, "V": 16}, "dtype": "f32", "form": "chunk", "direction": "forward"}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return fake_gpu.Driver(fake_gpu.build_driver(tmp_path_factory.mktemp("driver")))


@pytest.fixture
def gpu(driver, tmp_path, monkeypatch):
    driver.reset()
    fake_gpu.environment(monkeypatch, driver.path, tmp_path / "cache")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one column block, on the CPU as on a GPU
    with fla.knobs.override(ahead="0"):  # tests count loads; one of them is about this
        yield FakeGPU(driver, tmp_path / "cache")
    torch.set_num_threads(threads)
    fake_gpu.forget_programs()


@pytest.fixture
def program(gpu):
    """A forward of the gated delta rule for the fake device, and its manifest."""
    def make(target=TARGET, **changes):
        source, options = load("gated_delta_rule").definition().text, {**OPTIONS, "target": target}
        code = gpu.prepare(source, options, target)
        manifest = gpu.hosts[code][1]
        for kernel in manifest["kernels"]:
            kernel.update(changes)
        fake_gpu.write_entry(gpu.cache, source, json.dumps(options), manifest, code.encode(), target)
        gpu.driver.on_launch = None
        return _native.native().compile(source, json.dumps(options)), manifest
    return make


def launch(program, manifest, sizes=(2, 150, 3, 2, 0), device=0, stream=77, start=1000):
    """Launches on addresses (from `start`) and strides that say which argument and which number they are."""
    flat = [n for i in range(len(manifest["args"])) for n in (start + i, 10 * i + 1, 10 * i + 2, 10 * i + 3, sizes[2])]
    _native.native().Launcher(program, flat, list(sizes), device).launch(flat[::5], sizes[4], stream)


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


# Programs that come again on a stream: recorded, then started at once with new parameters.

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


# Cubins: what the driver makes of PTX, kept on disk.

@pytest.fixture
def again(gpu, program):
    """Runs PTX as one process after another would: the cache's folder is all that they share. How often it was linked."""
    source, options = load("gated_delta_rule").definition().text, json.dumps(OPTIONS)
    _, manifest = program()

    def run(code, kernels=("one",)):
        rows = [{**manifest["kernels"][0], "name": name} for name in kernels]
        fake_gpu.write_entry(gpu.cache, source, options, {**manifest, "kernels": rows}, code.encode())
        for text in [code, *parts(code)]:
            gpu.driver.parameters.update({(text[:63], name): 5 * len(manifest["args"]) + 4 for name in kernels})
        gpu.driver.launches.clear()
        handle = _native.native().compile(source, options)
        launch(handle, manifest)
        assert [x["kernel"] for x in gpu.driver.launches] == list(kernels)
        del handle
        gc.collect()
        assert gpu.driver["fake_loads"] == gpu.driver["fake_unloads"]
        return gpu.driver["fake_links"]
    return run


HEAD = ".version 8.0\n.target sm_90\n\n"
ENTRY = ".visible .entry {}(\n\t.param .u64 p\n)\n.reqntid 128, 1, 1\n{{\n\tret;\n}}\n"
ONE, TWO = HEAD + ENTRY.format("one"), HEAD + ENTRY.format("one") + "\n\t// .globl\ttwo\n" + ENTRY.format("two")


def parts(code):
    return [HEAD + ".visible" + text for text in code.removeprefix(HEAD).split(".visible")[1:]]


def cubins(gpu):
    return [path for path in gpu.cache.glob("*.flaobj") if b'"format":"cubin"' in path.read_bytes()[:512]]


def test_cubins_are_kept(again, gpu, driver):
    assert [again(ONE), again(ONE)] == [1, 1] and len(cubins(gpu)) == 1
    assert driver["fake_loads"] == 2
    assert again(ONE + "// other text") == 2
    driver["fake_version"] = 12080
    assert [again(ONE), again(ONE)] == [3, 3]
    driver["fake_capability"] = 120
    assert [again(ONE), again(ONE)] == [4, 4]
    assert len(cubins(gpu)) == 4


def test_kernels_are_compiled_side_by_side(again, gpu, driver, monkeypatch):
    driver["fake_link_together"] = 2
    monkeypatch.setenv("FLA_NUM_THREADS", "2")
    assert again(TWO, ("one", "two")) == 2 and driver["fake_links_at_once"] == 2 and driver["fake_loads"] == 2
    assert again(TWO, ("one", "two")) == 2 and driver["fake_loads"] == 4
    driver["fake_link_together"] = 1
    # A kernel that another program has, too.
    assert again(TWO.replace("ret", "exit", 1), ("one", "two")) == 3
    monkeypatch.setenv("FLA_NUM_THREADS", "1")
    monkeypatch.setenv("FLA_CACHE_DIR", str(gpu.cache / "other"))
    gpu.cache = gpu.cache / "other"
    driver["fake_links_at_once"] = 0
    assert again(TWO, ("one", "two")) == 5 and driver["fake_links_at_once"] == 1


def test_a_damaged_cubin(again, gpu):
    assert again(ONE) == 1
    (path,) = cubins(gpu)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert again(ONE) == 2 and path.read_bytes() == whole and again(ONE) == 2


def test_a_cubin_that_the_driver_refuses(again, driver, capfd):
    """Intact, but of another machine or version, say."""
    assert again(TWO, ("one", "two")) == 2
    driver["fake_refused_loads"] = 1
    assert again(TWO, ("one", "two")) == 4
    assert "a cubin of the cache is compiled again: CUDA: cannot load cubin for sm_90" in capfd.readouterr().err
    assert again(TWO, ("one", "two")) == 4


def test_a_driver_that_cannot_link(again, gpu, driver, capfd):
    """It gets the PTX; nothing is kept."""
    driver["fake_link_result"], driver["fake_jit_log"] = 999, b"no linker today"
    assert again(TWO, ("one", "two")) == 2 and driver["fake_loads"] == 1 and not cubins(gpu)
    assert re.search(r"cuLink\('...'\) no linker today: .*; the driver compiles PTX again in each process", capfd.readouterr().err)


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


# From Python: tensors of the CPU that count as lying on the fake device.

@pytest.fixture
def attached(gpu, monkeypatch):
    gpu.attach(monkeypatch)
    return gpu


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
