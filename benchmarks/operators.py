"""What a kernel costs against the length of a text: one forward pass of each operator, width 128, one text, one thread.

    OMP_NUM_THREADS=1 python benchmarks/operators.py

Rounds go through all kernels at one length, forwards and backwards in turn. The clock counts the process's own time, which
other work on the machine lengthens little but not at all times equally; the least of all rounds is kept beside the median.
"""

import json
import math
import statistics
import time
from pathlib import Path

import torch

from minildm.evaluation.provenance import provenance
from minildm.nets.operators import KERNELS, make_operator

OUT = Path(__file__).parent / "results" / "operators.json"
LENGTHS, WIDTH, HEADS, ROUNDS, LEAST = (64, 128, 256, 512, 1024, 2048, 4096), 128, 4, 12, 0.01


def repeats(call) -> int:
    """Calls that one measurement needs to last LEAST of the clock."""
    call()
    began = time.process_time()
    call()
    return max(1, math.ceil(LEAST / max(time.process_time() - began, 1e-6)))


def slope(lengths, seconds) -> float:
    """Least-squares slope of log seconds against log length."""
    x, y = ([math.log(v) for v in row] for row in (lengths, seconds))
    mx, my = statistics.fmean(x), statistics.fmean(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / sum((a - mx) ** 2 for a in x)


@torch.no_grad()
def seconds_at(n: int, operators: dict) -> dict[str, list[float]]:
    """Process seconds of a forward pass at one length, a number a round."""
    rng = torch.Generator().manual_seed(n)
    x, positions = torch.randn(1, n, WIDTH, generator=rng), torch.arange(n)
    calls = {name: (lambda op=op: op(x, positions)) for name, op in operators.items()}
    counts, found = (
        {name: repeats(call) for name, call in calls.items()},
        {name: [] for name in calls},
    )
    for k in range(ROUNDS):
        for name in list(calls)[:: 1 if k % 2 else -1]:
            began = time.process_time()
            for _ in range(counts[name]):
                calls[name]()
            found[name].append((time.process_time() - began) / counts[name])
    return found


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    operators = {name: make_operator(name, WIDTH, HEADS).eval() for name in KERNELS}
    rounds = {n: seconds_at(n, operators) for n in LENGTHS}
    rows = {
        name: {
            "median": [statistics.median(rounds[n][name]) for n in LENGTHS],
            "least": [min(rounds[n][name]) for n in LENGTHS],
        }
        for name in operators
    }
    for name, row in rows.items():
        row["slope"] = slope(LENGTHS, row["least"])
        row["slope_of_the_longest"] = slope(LENGTHS[-3:], row["least"][-3:])
        print(
            f"{name:10} slope {row['slope']:.2f}, of the longest three {row['slope_of_the_longest']:.2f}"
        )
    OUT.write_text(
        json.dumps(
            {
                "lengths": LENGTHS,
                "width": WIDTH,
                "heads": HEADS,
                "batch": 1,
                "rounds": ROUNDS,
                "threads": 1,
                "clock": "process time",
                "rows": rows,
                **provenance(torch.device("cpu")),
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
