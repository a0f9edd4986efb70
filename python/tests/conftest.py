"""A GPU where there is none, for the tests of devices (fake_gpu.py)."""

import json

import pytest
import torch

import fake_gpu
from fake_gpu import OPTIONS, TARGET, FakeGPU
from fla import _native, knobs
from fla.lang import load


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return fake_gpu.Driver(fake_gpu.build_driver(tmp_path_factory.mktemp("driver")))


@pytest.fixture
def gpu(driver, tmp_path, monkeypatch):
    driver.reset()
    fake_gpu.environment(monkeypatch, driver.path, tmp_path / "cache")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one column block, on the CPU as on a GPU
    with knobs.override(ahead="0"):  # tests count loads; one of them is about this
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


@pytest.fixture
def attached(gpu, monkeypatch):
    gpu.attach(monkeypatch)
    return gpu
