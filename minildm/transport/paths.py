"""Paths from noise to data: the point at time t, the velocity there, and the loss that learns a
field from them.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..dynamics.solvers import Field
from .schedules import Schedule, expand


@dataclass
class PathSample:
    """Points on the paths of a batch of pairs, and their velocities; each row has its own time."""

    zt: Float[Tensor, "batch ..."]  # a(t) z_1 + b(t) z_0
    velocity: Float[Tensor, "batch ..."]  # a'(t) z_1 + b'(t) z_0
    t: Float[Tensor, " batch"]
    z0: Float[Tensor, "batch ..."]
    z1: Float[Tensor, "batch ..."]


def interpolate(schedule: Schedule, z1: Tensor, z0: Tensor, t: Tensor) -> Tensor:
    """The point of the path, z_t = a(t) z_1 + b(t) z_0.

    Args:
        schedule: Coefficients of the path.
        z1, z0: (batch, ...).
        t: (batch,).

    Returns:
        z_t (batch, ...).
    """
    t = expand(t, z1)
    return schedule.a(t) * z1 + schedule.b(t) * z0


def sample_path(
    schedule: Schedule,
    z1: Float[Tensor, "batch ..."],
    z0: Float[Tensor, "batch ..."],
    t: Float[Tensor, " batch"],
) -> PathSample:
    """The point of each path at its time and the velocity there, u = dz_t/dt = a'(t) z_1 + b'(t)
    z_0.

    On the straight path u = z_1 - z_0 = (z_1 - z_t)/(1 - t): the pinned control of the pair.

    Args:
        schedule: Coefficients of the path.
        z1: Data and `z0` noise, (batch, ...).
        t: (batch,).

    Returns:
        A `PathSample`.

    Derived in chapter 06.
    """
    return PathSample(
        interpolate(schedule, z1, z0, t), schedule.velocity(z1, z0, expand(t, z1)), t, z0, z1
    )


def change_schedule(
    z: Float[Tensor, "batch ..."], t: Float[Tensor, " batch"], source: Schedule, target: Schedule
) -> tuple[Tensor, Tensor]:
    """The same point on the path that another schedule makes of the same pair: equal log-SNR, another scale.

    lambda_target(t') = lambda_source(t),  z' = z sqrt((a'^2 + b'^2) / (a^2 + b^2)) = a' z_1 + b' z_0
    Args: `z` (batch, ...), the point at time `t` (batch,) of `source`; `target`. Returns z' (batch, ...) and t' (batch,).
    Derived in chapter 07. Source: EDM.
    """
    other = target.from_log_snr(source.log_snr(t))
    scale = (
        (target.a(other) ** 2 + target.b(other) ** 2) / (source.a(t) ** 2 + source.b(t) ** 2)
    ).sqrt()
    return expand(scale, z) * z, other


def flow_matching_loss(field: Field, sample: PathSample) -> Float[Tensor, ""]:
    """Regress a field on the velocities of paths, mean |u(z_t, t) - (a' z_1 + b' z_0)|^2; the best is E[u | z_t].

    Args: `field`, (z (batch, ...), t (batch,)) -> u (batch, ...); `sample`. Returns the mean over all numbers of the batch.
    Derived in chapter 06. Source: textbook.
    """
    return (field(sample.zt, sample.t) - sample.velocity).square().mean()
