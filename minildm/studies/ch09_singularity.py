"""Trajectory singularity: the speed, energy and straightness of a path, and its expansion rate.

All of them read a recorded path or a relaxed process, so tokens and latents are treated alike.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.jacobians import top_eigenvalue
from ..dynamics.records import Trajectory
from ..sampling.relaxed import RelaxedProcess, relaxed
from .common import SMALL_MODELS, band, generator, small_model
from .record import Record

Number = TypeVar("Number", float, Tensor)
RUNGS = (4, 8, 16, 32, 64, 128)  # numbers of steps whose ends are compared
RATE_STEPS = 16  # steps of the path whose expansion rates are computed
TOLERANCES = (0.05, 0.1, 0.2)


def jump_cost(distance: Number, duration: Number) -> Number:
    """The least energy of a move within a time, delta^2 / (2 tau).

    Args:
        distance: The distance delta.
        duration: The time tau, above 0.

    Returns:
        The integral of |u|^2 / 2, which grows without bound as tau goes to 0.
    """
    return distance**2 / (2 * duration)


def moves(path: Trajectory, moving: int | None) -> tuple[Tensor, Tensor]:
    """The move of each text in each interval (interval, batch, ...), and the intervals' lengths."""
    return path.states[..., :moving].diff(dim=0).flatten(2), path.times.diff()[:, None]


def speeds(path: Trajectory, moving: int | None = None) -> Float[Tensor, "interval batch"]:
    """The speed of each text in each interval, |z_{k+1} - z_k| / (t_{k+1} - t_k).

    Args:
        path: The recorded path.
        moving: Number of channels that are the state proper, by default all.

    Returns:
        Speeds (interval, batch).
    """
    dz, dt = moves(path, moving)
    return dz.norm(dim=-1) / dt


def energy(path: Trajectory, moving: int | None = None) -> Float[Tensor, " batch"]:
    """The energy of each text's path, sum over k of |z_{k+1} - z_k|^2 / (2 (t_{k+1} - t_k)).

    Args:
        path: The recorded path.
        moving: Number of channels that are the state proper, by default all.

    Returns:
        Energies (batch,); for tokens the sum of `jump_cost` over all jumps.
    """
    dz, dt = moves(path, moving)
    return jump_cost(dz.norm(dim=-1), dt).sum(0)


def straightness(path: Trajectory, moving: int | None = None) -> Float[Tensor, " batch"]:
    """The squared deviation of the velocity from that of the straight path.

    integral of |(z_1 - z_0)/T - v|^2 dt = 2 energy - |z_1 - z_0|^2 / T

    Args:
        path: The recorded path, over a time T.
        moving: Number of channels that are the state proper, by default all.

    Returns:
        A number for each text, 0 only for a uniform velocity along a line.

    Derived in chapter 09. Source: rectified flow 2209.03003.
    """
    dz, dt = moves(path, moving)
    chord = dz.sum(0) / dt.sum()
    return ((chord - dz / dt[..., None]) ** 2).sum(-1).mul(dt).sum(0)


def expansion_rates(
    process: RelaxedProcess, path: Trajectory, rng: torch.Generator, rounds: int = 20
) -> Float[Tensor, "interval batch"]:
    """The expansion rate of each step: the top eigenvalue of the symmetric part of dv_k/dz.

    v_k(z) = (F_k(z) - z) / (t_{k+1} - t_k), with the memory in the state kept as recorded

    Args:
        process: The sampler, whose steps are F_k.
        path: The path that it took.
        rng: Generator of the starting vectors.
        rounds: Rounds of the power iteration.

    Returns:
        Rates (interval, batch), in units of 1/time.

    Derived in chapter 09.
    """
    rates = []
    for state, (t, s) in zip(path.states, pairwise(path.times)):
        z, memory = state[..., : process.moving], state[..., process.moving :]

        def velocity(z: Tensor, t: Tensor, memory: Tensor = memory, s: Tensor = s) -> Tensor:
            whole = torch.cat((z, memory), dim=-1)
            return (process.step(process.field, whole, t, s, None)[..., : process.moving] - z) / (
                s - t
            )

        rates.append(top_eigenvalue(velocity, z, t, rng, rounds))
    return torch.stack(rates)


def steps_to_tolerance(tolerance: float, ends: dict[int, Float[Tensor, "batch ..."]]) -> int | None:
    """The least number of steps from which on all ends are close to that of the most steps.

    |z^S - z^max| <= tolerance |z^max|, norms over the whole batch

    Args:
        tolerance: Relative distance.
        ends: Ends (batch, ...) by number of steps, from the same start.

    Returns:
        A number of steps below the largest, or None when even the last of them is too far.

    Derived in chapter 09.
    """
    *rungs, most = sorted(ends)
    found = None
    for steps in reversed(rungs):
        if (ends[steps] - ends[most]).norm() > tolerance * ends[most].norm():
            break
        found = steps
    return found


def figures_of_path(process: RelaxedProcess, path: Trajectory) -> dict[str, Any]:
    """Speed, energy and straightness of a path, beside the length of its chord."""
    chord = (path.states[-1] - path.states[0])[..., : process.moving].flatten(1).norm(dim=1)
    return {
        "times": path.times.tolist(),
        "speed": band(speeds(path, process.moving)),
        "energy": energy(path, process.moving).mean().item(),
        "chord": chord.mean().item(),
        "straightness": straightness(path, process.moving).mean().item(),
    }


def run(out: Path = Path("runs/ch09_singularity.json"), texts: int = 8) -> None:
    """Speed and curvature of the paths of three models, and the steps they need.

    Args:
        out: File of the record.
        texts: Texts of each sampler; expansion rates are those of a quarter of them.
    """
    record = Record(out, texts=texts)
    for model_type in SMALL_MODELS:
        if {"model": model_type} in record:
            continue
        model = small_model(model_type).model
        row: dict[str, Any] = {"model": model_type}
        ends = {}
        for steps in (64,) if model.causal else RUNGS:
            process = relaxed(model, texts, steps, generator())
            path = process.run()
            ends[steps] = path.states[-1][..., : process.moving]
            row[f"{steps} steps"] = figures_of_path(process, path)
            if not model.causal and steps == RATE_STEPS:
                few = relaxed(model, texts // 4, steps, generator())
                rates = expansion_rates(few, few.run(), generator(), rounds=12)
                row[f"{steps} steps"]["rate"] = band(rates)
        last = ends[max(ends)]
        row["off_the_most_steps"] = {
            steps: ((end - last).norm() / last.norm()).item() for steps, end in ends.items()
        }
        row["steps_to"] = {
            tolerance: steps_to_tolerance(tolerance, ends) for tolerance in TOLERANCES
        }
        record.add(row)
