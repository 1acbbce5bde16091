"""The grid solver against two NumPy versions, on 201 x 201 states, 200 steps and 21 controls; results must agree.

    OMP_NUM_THREADS=1 python benchmarks/grid.py

Seconds are those of the process on its one thread, so that other work on the machine does not count.
`plain`: a loop over controls, departures and weights computed where they are used, as one writes it first.
`careful`: departures, cells and weights of all controls computed once, as in the package, and read by fancy indexing.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from timing import versus

from minildm.control.grid import Grid, solve
from minildm.control.systems import Pendulum

STATES, STEPS, CONTROLS, REACH = 201, 200, 21, 4.0
LOW, HIGH = (-3.0, -4.0), (3.0, 4.0)
OUT = Path(__file__).parent / "results" / "grid.json"
SYSTEM = Pendulum(weight=2.0)


def corners(q, v, dtype):
    """Cell and place in the cell of each state, held inside the box."""
    x = np.clip((q - LOW[0]) / (HIGH[0] - LOW[0]) * (STATES - 1), 0, STATES - 1)
    y = np.clip((v - LOW[1]) / (HIGH[1] - LOW[1]) * (STATES - 1), 0, STATES - 1)
    i, j = np.minimum(x.astype(int), STATES - 2), np.minimum(y.astype(int), STATES - 2)
    return i, j, (x - i).astype(dtype), (y - j).astype(dtype)


def bilinear(values, i, j, a, b):
    return (1 - a) * ((1 - b) * values[i, j] + b * values[i, j + 1]) + a * (
        (1 - b) * values[i + 1, j] + b * values[i + 1, j + 1]
    )


def states(dtype):
    axes = [np.linspace(low, high, STATES, dtype=dtype) for low, high in zip(LOW, HIGH)]
    return np.meshgrid(*axes, indexing="ij")


def move(q, v, u, h):
    return q + h * v, v + h * (u - np.sin(q) - SYSTEM.damping * v)


def plain(dtype):
    (q, v), h = states(dtype), dtype(1 / STEPS)
    values = SYSTEM.weight * (1 + np.cos(q) + v**2 / 2)
    for _ in range(STEPS):
        best = np.full_like(values, np.inf)
        for u in np.linspace(-REACH, REACH, CONTROLS, dtype=dtype):
            later = bilinear(values, *corners(*move(q, v, u, h), dtype))
            best = np.minimum(best, h * SYSTEM.effort * u**2 / 2 + later)
        values = best
    return values


def careful(dtype):
    (q, v), h = states(dtype), dtype(1 / STEPS)
    values = SYSTEM.weight * (1 + np.cos(q) + v**2 / 2)
    u = np.linspace(-REACH, REACH, CONTROLS, dtype=dtype)[:, None, None]
    there = corners(*np.broadcast_arrays(*move(q, v, u, h)), dtype)
    for _ in range(STEPS):
        values = (h * SYSTEM.effort * u**2 / 2 + bilinear(values, *there)).min(0)
    return values


def package(dtype):
    controls = torch.linspace(-REACH, REACH, CONTROLS, dtype=dtype)[:, None]
    return (
        solve(SYSTEM, Grid(LOW, HIGH, (STATES, STATES)), controls, torch.linspace(0, 1, STEPS + 1))
        .values[0]
        .numpy()
    )


def main() -> None:
    torch.set_num_threads(1)
    rounds, rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5, {}
    for ours, theirs in ((torch.float32, np.float32), (torch.float64, np.float64)):
        for peer in (plain, careful):
            gap = float(np.abs(package(ours) - peer(theirs)).max())
            assert gap < (1e-3 if theirs is np.float32 else 1e-10), gap
            row = versus(
                lambda ours=ours: package(ours),
                lambda peer=peer, theirs=theirs: peer(theirs),
                rounds,
                core=0.0,
                timer=time.process_time,
            )
            name = f"{theirs.__name__}, {peer.__name__} numpy"
            rows[name] = {**row, "times_faster": 1 / row["ratio"], "largest_difference": gap}
            print(json.dumps({name: rows[name]}), flush=True)
    sizes = {
        "states": [STATES, STATES],
        "steps": STEPS,
        "controls": CONTROLS,
        "threads": 1,
        "timer": "process time",
    }
    found = {"sizes": sizes, "torch": torch.__version__, "numpy": np.__version__, "rows": rows}
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
