"""Cubins: what the driver makes of PTX, kept on disk."""

import gc
import json
import re

import pytest

import fake_gpu
from fake_gpu import OPTIONS, launch
from fla import _native
from fla.lang import load

pytestmark = pytest.mark.skipif(fake_gpu.compiler() is None, reason="no C compiler to build the fake driver with")


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
