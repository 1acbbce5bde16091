"""Trajectory singularity: how fast a sampler must move, how bent its path is, and how fast its
field pulls neighbors apart.

Everything reads a recorded path or a chain, so that words and latents, which live in different
spaces, go the same way.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.jacobians import top_eigenvalue
from ..dynamics.records import Trajectory
from ..evaluation.chains import Chain


def jump_cost(
    distance: Float[Tensor, "..."] | float, duration: Float[Tensor, "..."] | float
) -> Tensor | float:
    """The least energy of a move within a time, delta^2 / (2 tau), which no jump can pay as tau
    goes to 0.

    Args:
        distance: Delta.
        duration: tau > 0.

    Returns:
        The integral of |u|^2 / 2.

    Source: ours, after Manta-LM.
    """
    return distance**2 / (2 * duration)


def moves(path: Trajectory, moving: int | None) -> tuple[Tensor, Tensor]:
    """How far each text goes in each interval, (interval, batch, ...), and how long the intervals
    are.
    """
    return path.states[..., :moving].diff(dim=0).flatten(2), path.times.diff()[:, None]


def speeds(path: Trajectory, moving: int | None = None) -> Float[Tensor, "interval batch"]:
    """How fast each text goes, |z_{k+1} - z_k| / (t_{k+1} - t_k).

    Args:
        path: The path.
        moving: How many of the channels are the state proper, by default all.

    Returns:
        (interval, batch).
    """
    dz, dt = moves(path, moving)
    return dz.norm(dim=-1) / dt


def energy(path: Trajectory, moving: int | None = None) -> Float[Tensor, " batch"]:
    """What the path costs, sum |z_{k+1} - z_k|^2 / (2 (t_{k+1} - t_k)): for words, `jump_cost` of
    all jumps.

    Args:
        path: The path.
        moving: As for `speeds`.

    Returns:
        The energy of each text.
    """
    dz, dt = moves(path, moving)
    return jump_cost(dz.norm(dim=-1), dt).sum(0)


def straightness(path: Trajectory, moving: int | None = None) -> Float[Tensor, " batch"]:
    """How far the velocity is from that of the straight path, 0 only for uniform motion on a line.

    integral of |(z_1 - z_0)/T - v|^2 dt = 2 energy - |z_1 - z_0|^2 / T

    Args:
        path: Over a time T.
        moving: As for `speeds`.

    Returns:
        A number a text.

    Derived in chapter 09. Source: rectified flow 2209.03003.
    """
    dz, dt = moves(path, moving)
    chord = dz.sum(0) / dt.sum()
    return ((chord - dz / dt[..., None]) ** 2).sum(-1).mul(dt).sum(0)


def top_rates(
    chain: Chain, path: Trajectory, rng: torch.Generator, rounds: int = 20
) -> Float[Tensor, "interval batch"]:
    """How fast a step pulls neighbors apart: the top eigenvalue of the symmetric part of dv_k/dz.

    v_k(z) = (F_k(z) - z) / (t_{k+1} - t_k), with what the state only remembers held as recorded
    Args: `chain`; `path` that it ran; `rng`; `rounds` of the iteration. Returns rates (interval, batch), in units of 1/time.
    Derived in chapter 09. Source: ours, after Manta-LM.
    """
    rates = []
    for state, (t, s) in zip(path.states, pairwise(path.times)):

        def velocity(
            z: Tensor, t: Tensor, memory: Tensor = state[..., chain.moving :], s: Tensor = s
        ) -> Tensor:
            return (
                chain.step(chain.field, torch.cat((z, memory), dim=-1), t, s, None)[
                    ..., : chain.moving
                ]
                - z
            ) / (s - t)

        rates.append(top_eigenvalue(velocity, state[..., : chain.moving], t, rng, rounds))
    return torch.stack(rates)


def steps_to(tolerance: float, ends: dict[int, Float[Tensor, "batch ..."]]) -> int | None:
    """The least number of steps from which on all ends lie within a tolerance of those of the most
    steps.

    |z^S - z^max| <= tolerance |z^max|, norms over the whole batch

    Args:
        tolerance: Relative.
        ends: (batch, ...) by number of steps, from the same start.

    Returns:
        A number of steps below the largest, or None when even the last of them is too far.

    Derived in chapter 09. Source: ours, after Manta-LM.
    """
    *ladder, most = sorted(ends)
    found = None
    for steps in reversed(ladder):
        if (ends[steps] - ends[most]).norm() > tolerance * ends[most].norm():
            break
        found = steps
    return found
