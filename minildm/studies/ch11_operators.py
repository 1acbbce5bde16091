"""The time of each integral operator against the length of a text, one text on one thread.

Rounds go through all kernels at one length, forwards and backwards in turn. The timer counts the
process's own time, which other work on the machine lengthens little but not evenly, so the least of
all rounds is kept beside the median.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..nets.operators import KERNELS, GlobalIntegralOperator, make_operator
from .common import generator
from .record import Record

LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
WIDTH = 128
HEADS = 4
LEAST = 0.01  # seconds that one measurement lasts


def repeats(run: Callable[[], object]) -> int:
    """Number of calls that one measurement needs to last LEAST seconds."""
    run()
    began = time.process_time()
    run()
    return max(1, math.ceil(LEAST / max(time.process_time() - began, 1e-6)))


def slope(lengths: Sequence[int], seconds: Sequence[float]) -> float:
    """The least-squares slope of log seconds against log length."""
    x = [math.log(length) for length in lengths]
    y = [math.log(value) for value in seconds]
    return statistics.linear_regression(x, y).slope


@torch.no_grad()
def seconds_at(
    n: int, operators: dict[str, GlobalIntegralOperator], rounds: int
) -> dict[str, list[float]]:
    """Process seconds of a forward pass at one length, a number a round."""
    x = torch.randn(1, n, WIDTH, generator=generator(n))
    positions = torch.arange(n)
    counts = {name: repeats(lambda op=op: op(x, positions)) for name, op in operators.items()}
    found: dict[str, list[float]] = {name: [] for name in operators}
    for k in range(rounds):
        for name in list(operators)[:: 1 if k % 2 else -1]:
            began = time.process_time()
            for _ in range(counts[name]):
                operators[name](x, positions)
            found[name].append((time.process_time() - began) / counts[name])
    return found


def run(out: Path = Path("runs/ch11_operators.json"), rounds: int = 12) -> None:
    """What a forward pass of each kernel costs at 64 to 4096 tokens.

    Args:
        out: File of the record.
        rounds: Measurements of each kernel at each length.
    """
    facts = {"lengths": LENGTHS, "width": WIDTH, "heads": HEADS, "batch": 1, "rounds": rounds}
    record = Record(out, **facts, threads=torch.get_num_threads(), timer="process time")
    if record.study["rows"]:
        return
    torch.manual_seed(0)
    operators = {name: make_operator(name, WIDTH, HEADS).eval() for name in KERNELS}
    seconds = {n: seconds_at(n, operators, rounds) for n in LENGTHS}
    for name in operators:
        least = [min(seconds[n][name]) for n in LENGTHS]
        record.add(
            {
                "kernel": name,
                "slope": slope(LENGTHS, least),
                "slope_of_the_longest": slope(LENGTHS[-3:], least[-3:]),
                "median": [statistics.median(seconds[n][name]) for n in LENGTHS],
                "least": least,
            }
        )
