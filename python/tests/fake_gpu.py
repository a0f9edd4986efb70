"""A GPU where there is none: programs "for cuda:sm_90" whose launches run on the CPU.

The driver is fake_driver.c. Code of a program is a line that names its program for
the CPU; a launch of its last kernel runs that program on the addresses that the
launch's parameters hold. What lies between a call in Python and the driver, all of
it, is the real thing.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import torch

from fla import _native
from fla.lang import devices, programs
from fla.lang.operators import _REGISTRY

STREAM = 0x5EA
TARGET = "cuda:sm_90"
OPTIONS = {"target": TARGET, "dims": {"K": 16, "V": 16}, "dtype": "f32", "form": "chunk", "direction": "forward"}
_FOLDER = Path(__file__).resolve().parent


def compiler() -> str | None:
    return next((c for c in ("cc", "clang", "clang-22", "gcc") if shutil.which(c)), None)


def build_driver(folder: Path) -> Path:
    library = folder / "libfakedriver.so"
    subprocess.run([compiler(), "-std=c11", "-shared", "-fPIC", "-o", str(library), str(_FOLDER / "fake_driver.c")], check=True)
    return library


class FakeLaunch(ctypes.Structure):
    _fields_ = [("code", ctypes.c_char_p), ("kernel", ctypes.c_char_p), ("grid", ctypes.c_int64),
                ("threads", ctypes.c_int64), ("shared", ctypes.c_int64), ("device", ctypes.c_int64),
                ("stream", ctypes.c_void_p), ("parameters", ctypes.POINTER(ctypes.POINTER(ctypes.c_int64)))]


_COUNT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
_ON_LAUNCH = ctypes.CFUNCTYPE(None, ctypes.POINTER(FakeLaunch))


class Driver:
    """The fake driver as a test sees it: ``driver["fake_loads"]``, and its launches."""

    def __init__(self, path: Path):
        self.path, self.library = path, ctypes.CDLL(str(path))
        self.launches: list[dict] = []
        self.parameters: dict[tuple[str, str], int] = {}  # their number, by code and kernel
        self.on_launch = None
        self._callback = _ON_LAUNCH(self._record)
        self._count = _COUNT(lambda code, kernel: self.parameters[code.decode(), kernel.decode()])
        self.reset()

    def reset(self) -> None:
        self.library.fake_reset()
        self.library.fake_select_none()
        self.launches.clear()
        self.on_launch = None
        for name, function in (("fake_on_launch", self._callback), ("fake_count", self._count)):
            ctypes.c_void_p.in_dll(self.library, name).value = ctypes.cast(function, ctypes.c_void_p).value

    def __getitem__(self, name: str) -> int:
        return ctypes.c_int.in_dll(self.library, name).value

    def __setitem__(self, name: str, value) -> None:
        if isinstance(value, bytes):
            ctypes.c_char_p.in_dll(self.library, name).value = value
        else:
            ctypes.c_int.in_dll(self.library, name).value = value

    def _record(self, pointer) -> None:
        launch = pointer.contents
        code, kernel = launch.code.decode(), launch.kernel.decode()
        values = [launch.parameters[i][0] for i in range(self.parameters[code, kernel])]
        self.launches.append({"code": code, "kernel": kernel, "grid": launch.grid,
                              "threads": launch.threads, "shared": launch.shared, "device": launch.device,
                              "stream": launch.stream or 0, "values": values})
        if self.on_launch:
            self.on_launch(self.launches[-1])


# Programs for a GPU, made of programs for the CPU.

def _entry(cache: Path, parts: list[str]) -> tuple[str, Path]:
    key = hashlib.sha256("".join(f"{len(p.encode())}:{p}" for p in parts).encode()).hexdigest()
    return key, cache / f"{key}.flaobj"


def write_entry(cache: Path, source: str, options: str, manifest: dict, code: bytes, target: str = TARGET) -> None:
    """A program for a GPU in the on-disk cache, as the compiler would leave it."""
    key, path = _entry(cache, [_native.native().version(), target, source, options])
    text = json.dumps(manifest).encode()
    rest = text + code
    head = {"fla": 1, "key": key, "sha256": hashlib.sha256(rest).hexdigest(), "manifest_size": len(text)}
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(json.dumps(head).encode() + b"\n" + rest)


def full_manifest(cache: Path, source: str, options: str) -> tuple[object, dict]:
    """(program for the CPU, its manifest with the kernels that only the cache's entry has)."""
    before = set(cache.glob("*.flaobj"))
    handle = _native.native().compile(source, options)
    fresh = set(cache.glob("*.flaobj")) - before
    assert fresh, "expected a new entry in the cache"
    head, rest = fresh.pop().read_bytes().split(b"\n", 1)
    return handle, json.loads(rest[:json.loads(head)["manifest_size"]])


class FakeGPU:
    """Compiles "for" the fake device and runs its launches."""

    def __init__(self, driver: Driver, cache: Path):
        self.driver, self.cache = driver, cache
        self.hosts: dict[str, tuple] = {}  # code: (CPU program, manifest)
        self.pending: dict[str, dict] = {}
        self.shared, self.format = 66000, "ptx"
        driver.on_launch = self.run

    def prepare(self, source: str, options: dict, target: str = TARGET) -> str:
        """Puts a program into the cache; the code by which launches name it."""
        text = json.dumps(options)
        host_options = {k: v for k, v in options.items() if k not in ("precision", "target")}
        code = f"// {len(self.hosts)} .version 8.3 of {target}"
        # An own name for each, so that no two share an entry.
        handle, manifest = full_manifest(self.cache, source + f"\n// {code}", json.dumps({**host_options, "target": "cpu"}))
        for kernel in manifest["kernels"]:
            kernel.update(threads=128, shared=self.shared)
            self.driver.parameters[code, kernel["name"]] = 5 * len(kernel["args"]) + 4
        manifest.update(target=target, format=self.format)
        self.hosts[code] = handle, manifest
        write_entry(self.cache, source, text, manifest, code.encode(), target)
        return code

    def run(self, launch: dict) -> None:
        """At a program's last kernel: the program on the CPU, on what the parameters say."""
        handle, manifest = self.hosts[launch["code"]]
        kernels = {k["name"]: k for k in manifest["kernels"]}
        tokens, heads, sequences, offsets = launch["values"][-4:]
        rows = self.pending.setdefault(launch["code"], {})
        for i, argument in enumerate(kernels[launch["kernel"]]["args"]):
            data, *strides, group = launch["values"][5 * i:5 * i + 5]
            rows[argument] = (data, *strides, heads // group)
        if launch["kernel"] != manifest["kernels"][-1]["name"]:
            return
        flat = [n for i in range(len(manifest["args"])) for n in rows[i]]
        batch = 1 if offsets else sequences
        _native.native().run(handle, flat, [batch, tokens, heads, sequences, offsets], 1)
        self.pending.pop(launch["code"])

    def attach(self, monkeypatch) -> None:
        """From here on PyTorch's CPU tensors count as lying on a GPU."""
        forget_programs()
        ask = programs.ask

        def ask_with_programs(function, definition, options):
            if function == "compile" and options["target"] != "cpu":
                self.prepare(definition.text, options, options["target"])
            return ask(function, definition, options)

        monkeypatch.setattr(programs, "ask", ask_with_programs)
        monkeypatch.setattr(devices, "is_gpu", lambda device: True)
        monkeypatch.setattr(devices, "index_of", lambda device: 0)
        monkeypatch.setattr(devices, "_target", lambda index: TARGET)
        monkeypatch.setattr(devices, "_raw_stream", lambda index: STREAM)
        monkeypatch.setattr(devices, "_device", lambda index: torch.device("cpu"))
        monkeypatch.setattr(devices, "_is_capturing", lambda: False)
        monkeypatch.setattr(devices, "_VALUES", {})


def forget_programs() -> None:
    """No operator keeps a program of an earlier fake device."""
    programs._compile.cache_clear()
    for operators in _REGISTRY.values():
        operators._programs.clear()
        operators._begun.clear()
        operators._prepared.clear()


def environment(monkeypatch, driver: Path, cache: Path) -> None:
    monkeypatch.setenv("FLA_CUDA_DRIVER", os.fspath(driver))
    monkeypatch.setenv("FLA_HIP_DRIVER", os.fspath(driver))
    monkeypatch.setenv("FLA_CACHE_DIR", os.fspath(cache))
    monkeypatch.setenv("FLA_CACHE", "1")


def launch(program, manifest, sizes=(2, 150, 3, 2, 0), device=0, stream=77, start=1000):
    """Launches on addresses (from `start`) and strides that say which argument and which number they are."""
    flat = [n for i in range(len(manifest["args"])) for n in (start + i, 10 * i + 1, 10 * i + 2, 10 * i + 3, sizes[2])]
    _native.native().Launcher(program, flat, list(sizes), device).launch(flat[::5], sizes[4], stream)
