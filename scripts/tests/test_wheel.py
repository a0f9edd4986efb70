"""The wheel of `make wheel`: what is in it, and that it works with LLVM hidden.

It is installed into empty virtual environments, which borrow torch and numpy from
the environment of the tests. `make test-long` builds the wheel before; these tests
are skipped where there is none in dist/.
"""

import base64
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from build_wheel import pythons  # noqa: E402

WHEELS = sorted((ROOT / "dist").glob("fla_compiler-*.whl"), key=os.path.getmtime)
pytestmark = [pytest.mark.long,
              pytest.mark.skipif(not WHEELS, reason="there is no dist/fla_compiler-*.whl; make wheel builds it")]
PEERS = ("flash-linear-attention", "fla-core")

# Hides every file of LLVM and MLIR from one process and its children.
HIDDEN = """
for folder in /usr/lib/llvm-*; do mount -t tmpfs none $folder; done
for file in $(find /usr/lib /lib -xdev -name 'libLLVM*.so*' -o -xdev -name 'libMLIR*.so*' | xargs -r realpath | sort -u); do
  [ -f "$file" ] && mount --bind /dev/null "$file"
done
exec "$@"
"""

STEP = """
import torch, fla
from fla.lang import State, Vec, Scalar, recurrence, exp, outer
@recurrence
def rule(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
    S = exp(g) * S
    S = S + outer(k, beta * (v - S.T @ k))
    return S, S.T @ q
torch.manual_seed(0)
q, k, v = (torch.randn(1, 70, 2, 16) for _ in range(3))
k = torch.nn.functional.normalize(k, dim=-1)
g, beta = -torch.rand(1, 70, 2), torch.rand(1, 70, 2)
inputs = [x.requires_grad_() for x in (q, k, v, g, beta)]
"""

FORWARD_AND_BACKWARD = STEP + """
def loop(q, k, v, g, beta):
    S, rows = torch.zeros(1, 2, 16, 16, dtype=q.dtype), []
    for t in range(q.shape[1]):
        S = g[:, t].exp()[..., None, None] * S
        fresh = beta[:, t, :, None] * (v[:, t] - torch.einsum("bhkv,bhk->bhv", S, k[:, t]))
        S = S + k[:, t, :, :, None] * fresh[:, :, None]
        rows.append(torch.einsum("bhkv,bhk->bhv", S, q[:, t]))
    return torch.stack(rows, 1)
def results(function, inputs):
    o = function(*inputs)
    return [o, *torch.autograd.grad((o * torch.arange(16)).sum(), inputs)]
exact = results(loop, [x.detach().double().requires_grad_() for x in inputs])
for got, want in zip(results(lambda *x: rule(*x)[0], inputs), exact):
    assert (got.double() - want).norm() <= 3e-5 * want.norm(), (got.double() - want).norm() / want.norm()
maps = open("/proc/self/maps").read()
assert "libLLVM" not in maps and "libMLIR" not in maps, "LLVM is loaded"
assert "/fla/libfla.so" in maps
print("right", fla.__file__)
"""


def run(command, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def pip(environment: Path, *words) -> None:
    # pip removes bytecode where it would put it: beside the modules, as the environment's Python does.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}
    done = run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment / "bin" / "python", *words],
               env=variables)
    assert done.returncode == 0, done.stdout + done.stderr


def python(environment: Path, code: str, hidden: bool = False, **variables) -> subprocess.CompletedProcess:
    """Runs code with a nearly empty environment, at will with LLVM hidden."""
    command = [environment / "bin" / "python", "-c", code]
    if hidden:
        command = ["unshare", "-m", "sh", "-c", HIDDEN, "sh", *command]
    clean = {"PATH": f"{environment}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "FLA_CACHE_DIR": str(environment / "cache"),
             "HOME": str(environment)}
    return run(command, env={**clean, **variables}, cwd=environment)


def works(environment: Path, **options) -> None:
    done = python(environment, FORWARD_AND_BACKWARD, **options)
    assert done.returncode == 0 and f"right {environment}" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def empty(tmp_path) -> Path:
    """A virtual environment with torch and numpy and without fla."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = environment / "lib" / version / "site-packages"
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        # Theirs imports transformers where there is one, of its own version.
        if not re.match(r"transformers|fla\b|fla_|flash_linear", entry.name):
            (borrowed / entry.name).symlink_to(entry)
    (packages / "borrowed.pth").write_text(f"{borrowed}\n")
    return environment


@pytest.fixture
def installed(empty) -> Path:
    pip(empty, "install", "--no-index", "--no-deps", WHEELS[-1])
    return empty


def test_contents():
    assert WHEELS[-1].stat().st_size < 40 * 1024 * 1024
    name = re.fullmatch(r"fla_compiler-(\d+)\.(\d+)\.\d+-py3-none-manylinux_2_(\d+)_x86_64.whl", WHEELS[-1].name)
    assert name and (int(name[1]), int(name[2])) >= (0, 4) and int(name[3]) <= 35, WHEELS[-1].name
    with zipfile.ZipFile(WHEELS[-1]) as archive:
        files = set(archive.namelist())
    models = {f"fla/definitions/{path.name}" for path in (ROOT / "lib" / "Models").glob("*.mlir")}
    assert models <= files and "fla/libfla.so" in files and "fla/NOTICE.txt" in files
    assert "fla/_fla.cpython-311-x86_64-linux-gnu.so" in files


def test_it_is_of_this_checkout():
    """Every text that the package is made of, as it is now; `make wheel` brings an older wheel up to date."""
    package, native, header = ROOT / "python" / "fla", ROOT / "python" / "native", ROOT / "include" / "fla-c"
    texts = {f"fla/{path.relative_to(package)}": path for path in package.rglob("*.py")}
    texts.update({f"fla/native/{path.name}": path for path in native.iterdir()})
    texts.update({f"fla/native/include/fla-c/{path.name}": path for path in header.iterdir()})
    texts.update({f"fla/definitions/{path.name}": path for path in (ROOT / "lib" / "Models").glob("*.mlir")})
    with zipfile.ZipFile(WHEELS[-1]) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert [name for name, path in texts.items() if held.get(name) != path.read_bytes()] == []


def test_the_record():
    """Each file's hash and size, as installers check them."""
    with zipfile.ZipFile(WHEELS[-1]) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    record = next(name for name in held if name.endswith(".dist-info/RECORD"))
    rows = dict(line.split(",", 1) for line in held[record].decode().splitlines())
    assert rows.keys() == held.keys()
    for name, data in held.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert rows[name] == ("," if name == record else f"sha256={digest},{len(data)}"), name


def test_the_tag_is_honest(tmp_path):
    """By another reader of the files than the one that computed it: the newest glibc that any of them asks for."""
    tag = tuple(map(int, re.search(r"manylinux_(\d+)_(\d+)_x86_64", WHEELS[-1].name).groups()))
    asked, libraries = {}, set()
    with zipfile.ZipFile(WHEELS[-1]) as archive:
        for name in archive.namelist():
            if name.endswith(".so") or "/bin/" in name:
                file = archive.extract(name, tmp_path)
                text = run(["readelf", "--wide", "--version-info", "--dynamic", file]).stdout
                libraries |= set(re.findall(r"Shared library: \[(.*?)\]", text))
                needs = text.partition("Version needs section")[2]
                for prefix, version in re.findall(r"Name: ([A-Z]+)_([\d.]+)\s", needs):
                    asked.setdefault(prefix, set()).add(tuple(map(int, version.split("."))))
                assert "GLIBC_PRIVATE" not in needs and "ABI_DT_RELR" not in needs, name
    assert max(asked["GLIBC"]) == tag or max(asked["GLIBC"]) < tag == (2, 17)
    assert max(asked["GLIBCXX"]) <= (3, 4, 30) and max(asked.get("CXXABI", {(1,)})) <= (1, 3, 13)  # those of gcc 12
    assert libraries <= {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1",
                         "libstdc++.so.6", "ld-linux-x86-64.so.2"}


def test_forward_and_backward_with_llvm_hidden(installed):
    if run(["unshare", "-m", "true"]).returncode != 0:
        pytest.skip("unshare -m is not permitted, so LLVM cannot be hidden")
    works(installed, hidden=True)


def test_only_the_c_api_is_visible(installed):
    library = next(installed.glob("lib/*/site-packages/fla/libfla.so"))
    shown = run(["nm", "-D", "--defined-only", library]).stdout.split()[2::3]
    assert shown and all(name.startswith("fla_") for name in shown), shown


def test_the_tools(installed):
    definition = ROOT / "lib" / "Models" / "gla.mlir"
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(installed), "FLA_CACHE_DIR": str(installed / "cache")}
    opt = run([installed / "bin" / "fla-opt", definition, "--fla-compile=until=chunk"], env=clean)
    assert "chunk.program" in opt.stdout, opt.stderr
    made = run([installed / "bin" / "fla-translate", "--fla-to-object", definition, "-o", installed / "gla.o"], env=clean)
    assert made.returncode == 0 and (installed / "gla.o").read_bytes()[:4] == b"\x7fELF" and (installed / "gla.h").exists(), made.stderr
    check = run([installed / "bin" / "fla-check", "--quick", "--json", "--dims=K:8,V:8", definition], env=clean)
    assert check.returncode == 0 and all(row["pass"] for row in json.loads(check.stdout)), check.stderr
    wrong = run([installed / "bin" / "fla-check", "/nowhere.mlir"], env=clean)
    assert wrong.returncode != 0 and "/nowhere.mlir" in wrong.stderr


def test_a_python_without_a_module_builds_it_once(installed):
    if shutil.which("c++") is None:
        pytest.skip("there is no C++ compiler")
    for module in installed.glob("lib/*/site-packages/fla/_fla.*.so"):
        module.unlink()
    works(installed)
    built = list((installed / "cache").glob("binding-*/_fla.*.so"))
    assert len(built) == 1
    before = built[0].stat().st_mtime_ns
    works(installed, PATH="/nowhere")
    assert built[0].stat().st_mtime_ns == before
    done = python(installed, "from fla._native import native; native()", PATH="/nowhere", FLA_CACHE_DIR=str(installed / "other"))
    assert "CompilerMissing" in done.stderr and "expected a C++ compiler" in done.stderr


def test_every_python_with_headers(tmp_path):
    """Without torch, so by the module alone: one wheel serves all of them."""
    code = ("import json\nfrom fla._native import native, definitions_folder\n"
            "text = (definitions_folder() / 'gla.mlir').read_text()\n"
            "print(native().compile(text, json.dumps({'dims': {'K': 16, 'V': 16}, 'direction': 'forward'})).manifest)")
    found = pythons()
    assert found
    for suffix, interpreter in found.items():
        environment = tmp_path / suffix.strip(".")
        subprocess.run([interpreter, "-m", "venv", "--without-pip", environment], check=True)
        # Unpacked, since the pip of the tests' Python need not run in each of them.
        with zipfile.ZipFile(WHEELS[-1]) as archive:
            archive.extractall(next(environment.glob("lib/*/site-packages")))
        done = python(environment, code, PATH="/nowhere")
        assert done.returncode == 0 and json.loads(done.stdout)["args"], (suffix, done.stderr)


def test_names_and_versions(installed):
    done = python(installed, "import importlib.metadata as m, fla; print(m.version('fla-compiler'), fla.__version__)\n"
                             "m.version('flash-linear-attention')")
    version = WHEELS[-1].name.split("-")[1]
    assert done.stdout.split() == [version, version] and "PackageNotFoundError" in done.stderr


def test_two_processes_with_a_cold_cache(installed):
    code = STEP + "import hashlib\nprint(hashlib.sha256(rule(*(x.detach() for x in inputs))[0].numpy().tobytes()).hexdigest())"
    command = [str(installed / "bin" / "python"), "-c", code]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(installed), "FLA_CACHE_DIR": str(installed / "cold")}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = {process.communicate()[0] for process in both}
    assert len(printed) == 1 and len(printed.pop().strip()) == 64
    assert [path.suffix for path in (installed / "cold").iterdir()] == [".flaobj"]


# ---- flash-linear-attention and fla-core, which are imported as fla too ----

def write_wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    """A wheel of a few texts."""
    stem = f"{name.replace('-', '_')}-9.9.9"
    files = {**files, f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9.9\n",
             f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    record = f"{stem}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, record: "".join(f"{path},,\n" for path in [*files, record])}.items():
            archive.writestr(path, text)


def stand_ins(folder: Path) -> None:
    """Wheels of the peers' names with what they have in common with ours: the folder fla."""
    write_wheel(folder, "fla-core", {"fla/__init__.py": "__version__ = '9.9.9'\n", "fla/ops/__init__.py": ""})
    write_wheel(folder, "flash-linear-attention", {"fla/layers/__init__.py": "", "fla/models/__init__.py": ""})


@pytest.fixture(scope="module", params=["stand-ins", "published"])
def peers(request, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("peers")
    if request.param == "stand-ins":
        stand_ins(folder)
        return sorted(folder.iterdir())
    done = run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, *PEERS])
    if done.returncode != 0:
        pytest.skip(f"no package index gives {' and '.join(PEERS)}: {done.stderr.strip().splitlines()[-1]}")
    return sorted(folder.iterdir())


def refusal(environment: Path, code: str) -> str:
    done = python(environment, code)
    assert done.returncode != 0 and "ImportError: expected the package fla of fla-compiler" in done.stderr, done.stderr
    return done.stderr


def follow(environment: Path, text: str) -> None:
    """Does what the message says for this package."""
    commands = re.findall(r"^  pip (.*)$", text, re.M)[:2]
    assert commands == ["uninstall -y flash-linear-attention fla-core", "install --force-reinstall --no-deps fla-compiler"]
    pip(environment, *commands[0].split())
    pip(environment, *commands[1].replace("fla-compiler", str(WHEELS[-1])).split(), "--no-index")


def test_theirs_installed_after_ours(installed, peers):
    pip(installed, "install", "--no-deps", "--no-index", *peers)
    refusal(installed, "from fla._native import native")
    follow(installed, refusal(installed, "import fla.lang"))
    works(installed)


def test_ours_installed_after_theirs(empty, peers):
    pip(empty, "install", "--no-deps", "--no-index", *peers)
    pip(empty, "install", "--no-deps", "--no-index", WHEELS[-1])
    works(empty)
    pip(empty, "uninstall", "-y", *PEERS)  # takes fla/__init__.py along
    text = refusal(empty, "import fla.lang")
    assert "a folder without an __init__.py" in text
    follow(empty, text)
    works(empty)


def test_theirs_come_back(installed, peers):
    pip(installed, "install", "--no-deps", "--no-index", *peers)
    commands = re.findall(r"^  pip (.*)$", refusal(installed, "import fla.lang"), re.M)[2:]
    assert commands == ["uninstall -y fla-compiler flash-linear-attention fla-core", "install flash-linear-attention"]
    pip(installed, *commands[0].split())
    # Of the folder that three distributions shared at most itself is left.
    assert [path for path in installed.glob("lib/*/site-packages/fla/**/*") if path.is_file()] == []
    assert "ModuleNotFoundError" in python(installed, "import fla.lang").stderr


def test_the_environment_of_the_tests_is_left_alone():
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("fla-compiler")
