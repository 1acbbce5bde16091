"""Heads: what a network may predict at (z_t, t), and how each prediction turns into each other.

    z_t = a z_1 + b z_0   data z_1, noise z_0, velocity u = a' z_1 + b' z_0, score s = -z_0 / b

These hold for the truth of a pair and for its posterior mean alike, as all are affine. Limits at
the end points:

t = 0 (a = 0, b = 1): z_t is the noise, whatever it will become. The data prediction and the
velocity give all four; from noise or score, z_1 is 0/0: its limit, the mean of the data, is not in
them. t = 1 (a = 1, b = 0): z_t is the data, wherever it came from. Noise, velocity and a finite
score give z_1 and z_0; from the data prediction z_0 is 0/0, so the last step of a sampler asks it
for no velocity there. A score cannot be had: -z_0 / 0.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from .schedules import Schedule, expand

HEADS = ("denoised", "noise", "velocity", "score")
State = Float[Tensor, "batch ..."]
Times = Float[Tensor, "batch ..."]


def noise_from_denoised(schedule: Schedule, zt: Tensor, denoised: Tensor, t: Tensor) -> Tensor:
    """The noise that a data prediction implies, z_0 = (z_t - a z_1) / b.

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        denoised: z_1 (batch, ...).
        t: Times (batch,), below 1.

    Returns:
        z_0 (batch, ...).
    """
    t = expand(t, zt)
    return (zt - schedule.a(t) * denoised) / schedule.b(t)


def denoised_from_noise(schedule: Schedule, zt: State, noise: State, t: Times) -> State:
    """The data that a noise prediction implies, z_1 = (z_t - b z_0) / a.

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        noise: z_0 (batch, ...).
        t: Times (batch,), above 0.

    Returns:
        z_1 (batch, ...).

    Source: DDPM.
    """
    t = expand(t, zt)
    return (zt - schedule.b(t) * noise) / schedule.a(t)


def velocity_from_denoised(schedule: Schedule, zt: Tensor, denoised: Tensor, t: Tensor) -> Tensor:
    """The velocity that a data prediction implies.

    u = a' z_1 + b' z_0,  z_0 = (z_t - a z_1) / b

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        denoised: z_1 (batch, ...).
        t: Times (batch,), below 1.

    Returns:
        u (batch, ...).
    """
    z0 = noise_from_denoised(schedule, zt, denoised, t)
    t = expand(t, zt)
    return schedule.da(t) * denoised + schedule.db(t) * z0


def turning(schedule: Schedule, t: Tensor) -> Tensor:
    """How fast the path turns from noise to data, a' b - a b': 1 if linear, pi/2 if cosine.

    Args:
        schedule: Coefficients of the path.
        t: Times, of any shape.

    Returns:
        Rates in the shape of t, positive at both ends.
    """
    return schedule.da(t) * schedule.b(t) - schedule.a(t) * schedule.db(t)


def denoised_from_velocity(schedule: Schedule, zt: State, velocity: State, t: Times) -> State:
    """The data that a velocity implies: z_t + (1 - t) u on the straight path.

    z_1 = (b u - b' z_t) / (a' b - a b')

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        velocity: u (batch, ...).
        t: Times (batch,), both ends included.

    Returns:
        z_1 (batch, ...).
    """
    t = expand(t, zt)
    return (schedule.b(t) * velocity - schedule.db(t) * zt) / turning(schedule, t)


def noise_from_velocity(schedule: Schedule, zt: State, velocity: State, t: Times) -> State:
    """The noise that a velocity implies: z_t - t u on the straight path.

    z_0 = (a' z_t - a u) / (a' b - a b')

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        velocity: u (batch, ...).
        t: Times (batch,), both ends included.

    Returns:
        z_0 (batch, ...).
    """
    t = expand(t, zt)
    return (schedule.da(t) * zt - schedule.a(t) * velocity) / turning(schedule, t)


def score_from_noise(schedule: Schedule, zt: State, noise: State, t: Times) -> State:
    """The score of the distribution of z_t, grad log p_t(z_t) = -E[z_0 | z_t] / b.

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        noise: z_0 (batch, ...), a posterior mean.
        t: Times (batch,), below 1.

    Returns:
        s (batch, ...).

    Source: Tweedie.
    """
    return -noise / schedule.b(expand(t, zt))


def noise_from_score(schedule: Schedule, zt: State, score: State, t: Times) -> State:
    """The noise that a score implies, z_0 = -b s.

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        score: s (batch, ...).
        t: Times (batch,).

    Returns:
        z_0 (batch, ...).

    Source: Tweedie.
    """
    return -schedule.b(expand(t, zt)) * score


def check_head(head: str) -> None:
    """Refuse a name that is not one of HEADS."""
    if head not in HEADS:
        raise UserError(f"no head {head!r}: choose one of {', '.join(HEADS)}")


def pair(schedule: Schedule, zt: State, value: State, t: Times, head: str) -> tuple[State, State]:
    """Data and noise, (z_1, z_0), from a prediction of any head.

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        value: The prediction (batch, ...).
        t: Times (batch,).
        head: What the prediction is, one of HEADS.

    Returns:
        z_1 and z_0, (batch, ...).

    Raises:
        UserError: On another name.
    """
    check_head(head)
    if head == "denoised":
        return value, noise_from_denoised(schedule, zt, value, t)
    if head == "velocity":
        denoised = denoised_from_velocity(schedule, zt, value, t)
        return denoised, noise_from_velocity(schedule, zt, value, t)
    noise = value if head == "noise" else noise_from_score(schedule, zt, value, t)
    return denoised_from_noise(schedule, zt, noise, t), noise


def convert(
    schedule: Schedule, zt: State, value: State, t: Times, source: str, target: str
) -> State:
    """A prediction of one head as that of another, by way of data and noise.

    u = a' z_1 + b' z_0,  s = -z_0 / b

    Args:
        schedule: Coefficients of the path.
        zt: Points (batch, ...).
        value: The prediction (batch, ...).
        t: Times (batch,), inside (0, 1).
        source: What the prediction is, one of HEADS.
        target: What it should become, one of HEADS.

    Returns:
        The prediction of the target (batch, ...).

    Raises:
        UserError: On another name.
    """
    check_head(target)
    denoised, noise = pair(schedule, zt, value, t, source)
    if target == "denoised":
        return denoised
    if target == "noise":
        return noise
    if target == "velocity":
        return schedule.velocity(denoised, noise, expand(t, zt))
    return score_from_noise(schedule, zt, noise, t)


def loss_weight(schedule: Schedule, t: Times, head: str) -> Times:
    """How many times the squared error of a data prediction that of another head is, at one z_t.

    denoised 1,  noise (a/b)^2 = e^lambda,  velocity ((a' b - a b')/b)^2 = (a lambda'/2)^2,
    score (a/b^2)^2

    Args:
        schedule: Coefficients of the path.
        t: Times (batch,), below 1.
        head: One of HEADS.

    Returns:
        The weight (batch,).

    Raises:
        UserError: On another name.

    Derived in chapter 07. Source: VDM.
    """
    check_head(head)
    if head == "denoised":
        return torch.ones_like(t)
    b = schedule.b(t)
    if head == "velocity":
        return (turning(schedule, t) / b) ** 2
    return (schedule.a(t) / (b if head == "noise" else b**2)) ** 2
