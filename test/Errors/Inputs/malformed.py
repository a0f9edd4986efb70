"""Feeds damaged files to the tools: each must answer with status 1 and a message, never a signal.

usage: malformed.py TOOL[,OPTION...] FILE...    truncates and garbles each FILE
"""
import random
import subprocess
import sys


def damage(text, rng):
    """Versions of a file that lack, repeat or garble a part."""
    for cut in sorted(rng.sample(range(1, len(text)), 6)):
        yield "cut", text[:cut]
    lines = text.splitlines(keepends=True)
    for _ in range(4):
        dropped = rng.randrange(len(lines))
        yield "line dropped", b"".join(lines[:dropped] + lines[dropped + 1:])
        a, b = sorted(rng.sample(range(len(lines)), 2))
        yield "lines swapped", b"".join(lines[:a] + [lines[b]] + lines[a + 1:b] + [lines[a]] + lines[b + 1:])
    for _ in range(8):
        at = rng.randrange(len(text))
        yield "byte", text[:at] + bytes([rng.randrange(256)]) + text[at + 1:]
    for old, new in [(b"K", b"V"), (b"V", b"K"), (b"f64", b"f32"), (b"?x", b"4x"), (b"fla.read", b"fla.write"), (b"state(", b"("),
                     (b"fla.dims", b"fla.dim"), (b"arith.", b"nowhere."), (b": !", b": !!"), (b"%k", b"%q"), (b"0.0", b"nan")]:
        if old in text:
            yield "replaced", text.replace(old, new)
            yield "replaced once", text.replace(old, new, 1)
    yield "garbage", bytes(rng.randrange(256) for _ in range(4000))
    yield "zeros", bytes(1000)
    yield "bytecode header", b"ML\xefR" + bytes(rng.randrange(256) for _ in range(200))
    yield "deep", b"(" * 5000


def main():
    tool, files = sys.argv[1].split(","), sys.argv[2:]
    rng, runs, bad = random.Random(7), 0, 0
    for file in files:
        with open(file, "rb") as source:
            text = source.read()
        for kind, changed in damage(text, rng):
            done = subprocess.run([*tool, "-"], input=changed, capture_output=True, timeout=120)
            runs += 1
            silent = done.returncode == 1 and not done.stderr.strip()
            if done.returncode not in (0, 1) or silent:
                bad += 1
                print(f"{file}: {kind}: status {done.returncode}\n{changed.decode(errors='replace')}\n{done.stderr.decode(errors='replace')[-2000:]}")
    print(f"{runs} files, {bad} bad answers")
    return bad != 0


sys.exit(main())
