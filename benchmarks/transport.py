"""Our solvers against torchdiffeq's, and our path with its loss against torchcfm's, flow_matching's and plain tensors.

    OMP_NUM_THREADS=1 python benchmarks/transport.py [ROUNDS]

Seconds are those of the process on its one thread, so that other work on the machine does not count. Results must agree.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from flow_matching.path import AffineProbPath
from flow_matching.path.scheduler import CondOTScheduler
from timing import versus
from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
from torchdiffeq import odeint

from minildm.dynamics.adaptive import DormandPrince
from minildm.dynamics.solvers import integrate
from minildm.transport.fields import SmallField
from minildm.transport.paths import flow_matching_loss, sample_path
from minildm.transport.schedules import Linear

POINTS, STEPS, WIDTH, INNER = 1000, 20, 128, 200  # INNER: path calls in one timing
SHAPES = {"256 x 2": (256, 2), "1024 x 2": (1024, 2), "12 x 64 x 128": (12, 64, 128)}
METHODS = {"euler": "euler", "midpoint": "midpoint", "heun": "heun2", "rk4": "rk4"}
PEERS = ("torch", "torchdiffeq", "torchcfm", "flow_matching")
OUT = Path(__file__).parent / "results" / "transport.json"


def solvers(field):
    """Yields (name, ours, theirs, allowed gap) for each method, on one field, grid and dtype."""
    start, times = (
        torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(0)),
        torch.linspace(0, 1, STEPS + 1),
    )

    def swapped(t, z):
        return field(z, t)

    for name, method in METHODS.items():
        yield (
            f"{name}, {STEPS} steps",
            lambda name=name: integrate(field, start, times, name).states[-1],
            lambda method=method: odeint(swapped, start, times, method=method)[-1],
            1e-3 if name == "rk4" else 1e-6,
        )  # theirs is another method of order 4, the 3/8 rule
    ends, pair = times[[0, -1]], DormandPrince(1e-5, 1e-5)
    yield (
        "adaptive, 1e-5",
        lambda: integrate(field, start, ends, pair).states[-1],
        lambda: odeint(swapped, start, ends, method="dopri5", rtol=1e-5, atol=1e-5)[-1],
        1e-4,
    )


def plain(z1, z0, t):
    s = t.reshape(-1, *[1] * (z1.dim() - 1))
    return s * z1 + (1 - s) * z0, z1 - z0


def paths(shape):
    """Yields (name, ours, theirs, allowed gap) for paths of one draw; each side runs INNER times."""
    rng = torch.Generator().manual_seed(0)
    z1, z0 = torch.randn(2, *shape, generator=rng)
    t, schedule = torch.rand(shape[0], generator=rng), Linear()
    matcher, affine = ConditionalFlowMatcher(sigma=0.0), AffineProbPath(scheduler=CondOTScheduler())
    sides = {
        "plain tensors": lambda: plain(z1, z0, t)[0],
        "torchcfm": lambda: matcher.sample_location_and_conditional_flow(z0, z1, t=t)[1],
        "flow_matching": lambda: affine.sample(t=t, x_0=z0, x_1=z1).x_t,
    }

    def often(function):
        return [function() for _ in range(INNER)][-1]

    for name, function in sides.items():
        yield (
            f"path, {name}",
            lambda: often(lambda: sample_path(schedule, z1, z0, t).zt),
            lambda function=function: often(function),
            1e-6,
        )


def steps(field):
    """Yields (name, ours, theirs, allowed gap) for a path, its loss and its gradient, batch 1024."""
    z1, z0 = torch.randn(2, 1024, 2, generator=torch.Generator().manual_seed(0))
    t, schedule = torch.rand(1024, generator=torch.Generator().manual_seed(1)), Linear()
    matcher, affine = ConditionalFlowMatcher(sigma=0.0), AffineProbPath(scheduler=CondOTScheduler())

    def backward(loss):
        field.zero_grad()
        loss.backward()
        return loss.detach()

    def torchcfm():
        _, zt, velocity = matcher.sample_location_and_conditional_flow(z0, z1, t=t)
        return backward((field(zt, t) - velocity).square().mean())

    def flow_matching():
        sample = affine.sample(t=t, x_0=z0, x_1=z1)
        return backward((field(sample.x_t, sample.t) - sample.dx_t).square().mean())

    for name, peer in (("torchcfm", torchcfm), ("flow_matching", flow_matching)):
        yield (
            f"path, loss and gradient, {name}",
            lambda: backward(flow_matching_loss(field, sample_path(schedule, z1, z0, t))),
            peer,
            1e-6,
        )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rounds, field, rows = int(sys.argv[1]) if len(sys.argv) > 1 else 12, SmallField(width=WIDTH), {}
    with torch.no_grad():
        for p in field.parameters():
            p *= 2  # a field in which methods differ
        for kind, cases in {
            "": solvers(field),
            **{f"{name}: ": paths(shape) for name, shape in SHAPES.items()},
        }.items():
            for name, ours, theirs, allowed in cases:
                rows[kind + name] = compare(ours, theirs, allowed, rounds)
    for name, ours, theirs, allowed in steps(field):
        rows[name] = compare(ours, theirs, allowed, rounds)
    sizes = {
        "points": POINTS,
        "width": WIDTH,
        "path_repeats": INNER,
        "threads": 1,
        "timer": "process time",
    }
    OUT.write_text(
        json.dumps(
            {"sizes": sizes, "versions": {name: version(name) for name in PEERS}, "rows": rows},
            indent=1,
        )
        + "\n"
    )
    print(json.dumps({name: round(row["ratio"], 3) for name, row in rows.items()}, indent=1))


def compare(ours, theirs, allowed: float, rounds: int) -> dict[str, float]:
    gap = float((ours() - theirs()).abs().max())
    assert gap <= allowed, gap
    return {
        **versus(ours, theirs, rounds, core=0.0, timer=time.process_time),
        "largest_difference": gap,
    }


if __name__ == "__main__":
    main()
