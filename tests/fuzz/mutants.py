"""Mutants of files: bytes flipped, cut, doubled and swapped, and JSON whose values change, vanish or move."""

import copy
import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minildm.errors import UserError

COUNT = 2000  # mutants of a reader
PATIENCE = 5.0  # seconds that a reader may take
STRANGE = [
    None,
    True,
    -1,
    0,
    1,
    3,
    10**30,
    -0.5,
    1e308,
    float("nan"),
    "",
    "x",
    "step_0000009",
    "\ud800",
    [],
    [0],
    {},
    {"x": 1},
]


def bytes_like(rng: random.Random, content: bytes) -> bytes:
    """The content after one to three small accidents."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(content) + 1)
        end = min(at + rng.choice([1, 2, 8, 100]), len(content))
        part = bytes(content[at:end])
        match rng.choice(["flip", "cut", "drop", "put", "double", "digit", "fill"]):
            case "flip" if part:
                content[at] ^= 1 << rng.randrange(8)
            case "cut":
                del content[at:]
            case "drop":
                del content[at:end]
            case "put":
                content[at:at] = rng.randbytes(rng.randint(1, 9))
            case "double":
                content[at:at] = part
            case "digit":
                places = [i for i, byte in enumerate(content[:2000]) if chr(byte).isdigit()]
                if places:
                    content[rng.choice(places)] = ord(rng.choice("0123456789-."))
            case "fill":
                content[at:end] = rng.choice([b"\0", b"\xff", b"9", b"["]) * len(part)
    return bytes(content)


def places(tree, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all values in a tree of dicts and lists, as far as its first hundred entries."""
    keys = (
        list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else []
    )
    for key in keys[:100]:
        yield (*path, key)
        yield from places(tree[key], (*path, key))


def json_like(rng: random.Random, content: bytes) -> bytes:
    """JSON with one to three values changed, dropped, renamed or exchanged."""
    tree = json.loads(content)
    for _ in range(rng.randint(1, 3)):
        found = sorted(places(tree), key=len)
        if not found:
            break
        *path, key = rng.choice(found[:40] if rng.random() < 0.7 else found)
        node = tree
        for step in path:
            node = node[step]
        match rng.choice(["strange", "strange", "near", "drop", "rename"]):
            case "drop":
                del node[key]
            case "rename" if isinstance(node, dict):
                node[f"{key}_"] = node.pop(key)
            case "near" if isinstance(node[key], int | float):
                node[key] = rng.choice(
                    [node[key] + 1, -node[key], node[key] * 1000, str(node[key])]
                )
            case _:
                node[key] = copy.deepcopy(rng.choice(STRANGE))
    return json.dumps(tree).encode()


class Late(BaseException):
    """A reader took too long; it is no Exception, so that no reader catches it."""


@contextmanager
def in_time() -> Iterator[None]:
    """Fail what takes longer than PATIENCE."""

    def late(number, frame):
        raise Late(f"a reader took longer than {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[Path, bytes]:
    """All files below a folder with their content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def survive(
    path: Path,
    read: Callable[[], object],
    mutate: Callable,
    seed: str,
    count: int = COUNT,
    folder: Path | None = None,
) -> dict[str, int]:
    """Read mutants of a file: each works or ends in one sentence, in time, and leaves all files as they were.

    Returns how many were read and how many refused; the file ends as it began.
    """
    rng, good, ends = random.Random(seed), path.read_bytes(), {"read": 0, "refused": 0}
    for number in range(count):
        mutant = mutate(rng, good)
        path.write_bytes(mutant)
        before = snapshot(folder) if folder else None
        try:
            with in_time():
                read()
            ends["read"] += 1
        except UserError as refusal:
            assert "\n" not in str(refusal), str(refusal)
            ends["refused"] += 1
        except BaseException as fault:
            pytest.fail(
                f"mutant {number} of {path.name}, {mutant[:300]!r}: {type(fault).__name__}: {fault}"
            )
        assert path.read_bytes() == mutant
        if folder:
            assert snapshot(folder) == before, f"mutant {number} of {path.name} changed a file"
    path.write_bytes(good)
    assert ends["refused"] > 0
    return ends
