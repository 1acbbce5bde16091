"""How close flows in the plane come to their data: sliced Wasserstein distance against that of two fresh data samples.

    OMP_NUM_THREADS=1 python benchmarks/planar.py [SEEDS]

A distance is that of 10,000 points from 10,000 others, seen from 128 random directions. Both sides of the ratio are medians:

    ratio = median over DRAWS of SW(drawn by the flow, fresh data) / median over FRESH of SW(fresh data, fresh data)

A perfect flow has ratio 1 up to the chance of DRAWS draws; the file keeps that chance too, as the quantiles of the ratio of
fresh data treated as if a flow had drawn them. Seconds are those of the process on its one thread.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from minildm.dynamics.solvers import integrate
from minildm.transport.couplings import coupled
from minildm.transport.distances import sliced_wasserstein
from minildm.transport.fields import SmallField, train_field
from minildm.transport.planar import PLANES

POINTS, DIRECTIONS, FRESH, DRAWS, SOLVER_STEPS = 10_000, 128, 200, 10, 20
BUDGETS = (1000, 4000, 16_000)  # steps of training, batch 256
OUT = Path(__file__).parent / "results" / "planar.json"


def quantiles(values: torch.Tensor) -> dict[str, float]:
    return dict(
        zip(("5%", "50%", "95%"), values.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist())
    )


def fresh_distances(data) -> torch.Tensor:
    """Distances of fresh data samples from each other (FRESH,)."""
    rng = torch.Generator().manual_seed(1000)
    return torch.stack(
        [
            sliced_wasserstein(data(POINTS, rng), data(POINTS, rng), rng, DIRECTIONS)
            for _ in range(FRESH)
        ]
    )


@torch.no_grad()
def flow_distances(field, data, seed: int) -> torch.Tensor:
    """Distances of the flow's samples from fresh data samples (DRAWS,)."""
    rng, times = torch.Generator().manual_seed(2000 + seed), torch.linspace(0, 1, SOLVER_STEPS + 1)
    drawn = (
        integrate(field, torch.randn(POINTS, 2, generator=rng), times, "rk4", record=False).states[
            -1
        ]
        for _ in range(DRAWS)
    )
    return torch.stack([sliced_wasserstein(z, data(POINTS, rng), rng, DIRECTIONS) for z in drawn])


def train(data, steps: int, seed: int) -> tuple[SmallField, float]:
    """A trained field, and the seconds that it took."""
    torch.manual_seed(seed)
    field, start = SmallField(), time.process_time()
    train_field(field, coupled(data), torch.Generator().manual_seed(seed), steps)
    return field, time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    seeds, results = range(int(sys.argv[1]) if len(sys.argv) > 1 else 3), {}
    for name, data in PLANES.items():
        fresh = fresh_distances(data)
        unit = fresh.median()
        perfect = fresh.reshape(-1, DRAWS).median(dim=1).values / unit
        curve = []
        for steps in BUDGETS:
            fields, seconds = zip(*(train(data, steps, seed) for seed in seeds))
            ratios = [
                (flow_distances(field, data, seed).median() / unit).item()
                for field, seed in zip(fields, seeds)
            ]
            curve.append({"steps": steps, "seconds": list(seconds), "ratio": ratios})
            print(
                name,
                steps,
                [round(ratio, 3) for ratio in ratios],
                [round(s, 1) for s in seconds],
                flush=True,
            )
        results[name] = {
            "fresh_distance": quantiles(fresh),
            "ratio_of_a_perfect_flow": quantiles(perfect),
            "curve": curve,
        }
    sizes = {
        "points": POINTS,
        "directions": DIRECTIONS,
        "fresh_pairs": FRESH,
        "draws": DRAWS,
        "solver": "rk4",
        "solver_steps": SOLVER_STEPS,
        "threads": 1,
        "timer": "process time",
    }
    OUT.write_text(
        json.dumps({"sizes": sizes, "torch": version("torch"), "planes": results}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
