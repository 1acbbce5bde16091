"""Paths from noise to data: points, velocities, and the loss that learns a field from them."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..dynamics.records import Field
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
        z1: Data (batch, ...).
        z0: Noise (batch, ...).
        t: Times (batch,), or (batch, n) where each position has its own.

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
    """The point of each path at its time and the velocity there, u = a'(t) z_1 + b'(t) z_0.

    On the straight path u = z_1 - z_0 = (z_1 - z_t)/(1 - t): the pinned control of the pair.

    Args:
        schedule: Coefficients of the path.
        z1: Data (batch, ...).
        z0: Noise (batch, ...).
        t: Times (batch,).

    Returns:
        A `PathSample`.

    Derived in chapter 06.
    """
    zt = interpolate(schedule, z1, z0, t)
    return PathSample(zt, schedule.velocity(z1, z0, expand(t, z1)), t, z0, z1)


def change_schedule(
    z: Float[Tensor, "batch ..."], t: Float[Tensor, " batch"], source: Schedule, target: Schedule
) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, " batch"]]:
    """The same point on the path that another schedule makes of the same pair.

    lambda_target(t') = lambda_source(t)
    z' = z sqrt((a'^2 + b'^2) / (a^2 + b^2)) = a' z_1 + b' z_0

    Args:
        z: Points (batch, ...) on the path of `source`.
        t: Their times (batch,).
        source: Coefficients of the path on which z lies.
        target: Coefficients of the other path.

    Returns:
        z' (batch, ...) and t' (batch,).

    Derived in chapter 07. Source: EDM.
    """
    other = target.from_log_snr(source.log_snr(t))
    power = target.a(other) ** 2 + target.b(other) ** 2
    scale = (power / (source.a(t) ** 2 + source.b(t) ** 2)).sqrt()
    return expand(scale, z) * z, other


def flow_matching_loss(field: Field, sample: PathSample) -> Float[Tensor, ""]:
    """Squared error of a field against the velocities of paths, whose best field is E[u | z_t].

    mean |u(z_t, t) - (a' z_1 + b' z_0)|^2

    Args:
        field: u, (z (batch, ...), t (batch,)) -> (batch, ...).
        sample: Points, times and velocities.

    Returns:
        The mean over all numbers of the batch.

    Derived in chapter 06.
    """
    return (field(sample.zt, sample.t) - sample.velocity).square().mean()
