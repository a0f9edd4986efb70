"""Builds the wheel, checks what it needs from a system, and names it after that.

    python scripts/build_wheel.py [--build-dir build/wheel] [--out dist] [--jobs 2]

One wheel serves every Python whose headers are found here. Its manylinux tag is
computed from the versions of glibc's symbols that its files name.
"""

import argparse
import base64
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 40 * 1024 * 1024
# What every Linux of these tags has (PEP 600), and the newest libstdc++ that goes with glibc 2.35.
SYSTEM_LIBRARIES = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1",
                    "libstdc++.so.6", "ld-linux-x86-64.so.2"}
NEWEST_GLIBC = (2, 35)
NEWEST_GLIBCXX = (3, 4, 30)


class Unfit(Exception):
    """A wheel that would not run where its tag says."""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


# ---- Pythons ----

def candidates() -> list[Path]:
    """Interpreters on the PATH and those that pyenv keeps."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    folders += sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin"))
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())
            if re.fullmatch(r"python3\.\d+", path.name)]


def pythons() -> dict[str, str]:
    """Interpreter by ending of its modules, for each Python >= 3.10 that has headers."""
    ask = ("import os, sys, sysconfig as s\n"
           "h = os.path.join(s.get_paths()['include'], 'Python.h')\n"
           "print(s.get_config_var('EXT_SUFFIX') if sys.version_info >= (3, 10) and os.path.exists(h) else '')")
    found = {}
    for path in candidates():
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True)
        suffix = done.stdout.strip()
        if done.returncode == 0 and suffix:
            found.setdefault(suffix, str(path))
    return found


# ---- What a binary needs ----

def needs(binary: Path) -> tuple[set[str], dict[str, tuple[int, ...]]]:
    """Libraries, and the newest version by prefix (GLIBC, GLIBCXX...) of symbols, that a binary names."""
    text = subprocess.run(["objdump", "-p", binary], capture_output=True, text=True, check=True).stdout
    libraries = set(re.findall(r"NEEDED\s+(\S+)", text))
    newest: dict[str, tuple[int, ...]] = {}
    for prefix, version in re.findall(r"\s([A-Z]+)_([\d.]+)$", text.partition("Version References:")[2], re.M):
        newest[prefix] = max(newest.get(prefix, ()), numbers(version))
    if "GLIBC_ABI_DT_RELR" in text:
        newest["GLIBC"] = max(newest.get("GLIBC", ()), (2, 36))
    return libraries, newest


def platform_tag(wheel: Path) -> str:
    """The oldest manylinux that the wheel runs on. Raises Unfit."""
    glibc = (2, 17)
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as scratch:
        for name in archive.namelist():
            if not name.endswith(".so"):
                continue
            libraries, newest = needs(Path(archive.extract(name, scratch)))
            print(f"  {name}: {archive.getinfo(name).file_size / 1e6:.1f} MB, "
                  + ", ".join(f"{prefix} {'.'.join(map(str, version))}" for prefix, version in sorted(newest.items())))
            if libraries - SYSTEM_LIBRARIES:
                raise Unfit(f"{name}: expected the system's libraries alone, got {sorted(libraries - SYSTEM_LIBRARIES)}")
            if newest.get("GLIBCXX", ()) > NEWEST_GLIBCXX:
                raise Unfit(f"{name}: expected symbols of libstdc++ up to {NEWEST_GLIBCXX}, got {newest['GLIBCXX']}")
            glibc = max(glibc, newest.get("GLIBC", ()))
    if glibc > NEWEST_GLIBC:
        raise Unfit(f"expected symbols of glibc up to {NEWEST_GLIBC}, got {glibc}")
    return f"manylinux_{glibc[0]}_{glibc[1]}_x86_64"


# ---- Building and naming ----

def build(build_dir: Path, out: Path, jobs: int) -> Path:
    found = pythons()
    print("wheel: modules for", ", ".join(sorted(found)) or "this Python alone")
    environment = {**os.environ, "FLA_PYTHONS": ";".join(found.values()), "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs)}
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                    "--disable-pip-version-check", f"--config-settings=build-dir={build_dir}", "-w", out, ROOT],
                   check=True, env=environment)
    return next(out.glob("*.whl"))


def record_line(name: str, data: bytes) -> list[str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return [name, f"sha256={digest}", str(len(data))]


def rename(wheel: Path, platform: str, out: Path) -> Path:
    """Writes the wheel anew with its platform tag and RECORD."""
    distribution, version = wheel.name.split("-")[:2]
    target = out / f"{distribution}-{version}-py3-none-{platform}.whl"
    lines = []
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith(".dist-info/RECORD"):
                record = info
                continue
            if info.filename.endswith(".dist-info/WHEEL"):
                data = re.sub(rb"(?m)^Tag: .*$", b"Tag: py3-none-" + platform.encode(), data)
            lines.append(record_line(info.filename, data))
            new.writestr(info, data, compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*lines, [record.filename, "", ""]])
        new.writestr(record, text.getvalue(), compress_type=zipfile.ZIP_DEFLATED)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build" / "wheel")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build(options.build_dir.resolve(), Path(scratch), options.jobs)
        target = rename(wheel, platform_tag(wheel), options.out)
    size = target.stat().st_size
    print(f"wheel: {target}, {size / 1e6:.1f} MB")
    if size >= LARGEST:
        raise Unfit(f"expected less than {LARGEST} bytes, got {size}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Unfit, subprocess.CalledProcessError) as error:
        sys.exit(f"wheel: {error}")
