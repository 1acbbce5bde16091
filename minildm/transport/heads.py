"""Heads: what a network may predict at (z_t, t), and how each prediction turns into each other.

    z_t = a z_1 + b z_0   clean z_1, noise z_0, velocity u = a' z_1 + b' z_0, score s = -z_0 / b

These hold for the truth of a pair and for its posterior mean alike, as all are affine. Limits at
the end points:

t = 0 (a = 0, b = 1): z_t is the noise, whatever it will become. Clean head and velocity give all
four; from noise or score, z_1 is 0/0: its limit, the mean of the data, is not in them. t = 1 (a =
1, b = 0): z_t is the data, wherever it came from. Noise, velocity and a finite score give z_1 and
z_0; from the clean head z_0 is 0/0, so the last step of a sampler asks it for no velocity there. A
score cannot be had: -z_0 / 0.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from .schedules import Schedule, expand

HEADS = ("denoised", "noise", "velocity", "score")
State = Float[Tensor, "batch ..."]
Times = Float[Tensor, " batch"]


def noise_from_denoised(schedule: Schedule, zt: Tensor, clean: Tensor, t: Tensor) -> Tensor:
    """The noise that a clean prediction implies, z_0 = (z_t - a z_1) / b.

    Args:
        zt, clean: (batch, ...).
        t: (batch,), below 1.

    Returns:
        z_0 (batch, ...).
    """
    t = expand(t, zt)
    return (zt - schedule.a(t) * clean) / schedule.b(t)


def denoised_from_noise(schedule: Schedule, zt: State, noise: State, t: Times) -> State:
    """The data that a noise prediction implies, z_1 = (z_t - b z_0) / a.

    Args:
        zt, noise: (batch, ...).
        t: (batch,), above 0.

    Returns:
        z_1 (batch, ...).

    Source: DDPM.
    """
    t = expand(t, zt)
    return (zt - schedule.b(t) * noise) / schedule.a(t)


def velocity_from_denoised(schedule: Schedule, zt: Tensor, clean: Tensor, t: Tensor) -> Tensor:
    """The velocity that a clean prediction implies, u = a' z_1 + b' z_0 with z_0 = (z_t - a z_1) /
    b.

    Args:
        zt, clean: (batch, ...).
        t: (batch,), below 1.

    Returns:
        u (batch, ...).
    """
    z0, t = noise_from_denoised(schedule, zt, clean, t), expand(t, zt)
    return schedule.da(t) * clean + schedule.db(t) * z0


def turning(schedule: Schedule, t: Tensor) -> Tensor:
    """How fast the path turns from noise to data, a' b - a b': 1 if linear, pi/2 if cosine, and
    positive at both ends.
    """
    return schedule.da(t) * schedule.b(t) - schedule.a(t) * schedule.db(t)


def denoised_from_velocity(schedule: Schedule, zt: State, velocity: State, t: Times) -> State:
    """The data that a velocity implies, z_1 = (b u - b' z_t) / (a' b - a b'): z_t + (1 - t) u on
    the straight path.

    Args:
        zt, velocity: (batch, ...).
        t: (batch,), both ends included.

    Returns:
        z_1 (batch, ...).
    """
    t = expand(t, zt)
    return (schedule.b(t) * velocity - schedule.db(t) * zt) / turning(schedule, t)


def noise_from_velocity(schedule: Schedule, zt: State, velocity: State, t: Times) -> State:
    """The noise that a velocity implies, z_0 = (a' z_t - a u) / (a' b - a b'): z_t - t u on the
    straight path.

    Args:
        zt, velocity: (batch, ...).
        t: (batch,), both ends included.

    Returns:
        z_0 (batch, ...).
    """
    t = expand(t, zt)
    return (schedule.da(t) * zt - schedule.a(t) * velocity) / turning(schedule, t)


def score_from_noise(schedule: Schedule, zt: State, noise: State, t: Times) -> State:
    """The score of the law of z_t, grad log p_t(z_t) = -E[z_0 | z_t] / b.

    Args:
        zt, noise: (batch, ...), a posterior mean.
        t: (batch,), below 1.

    Returns:
        s (batch, ...).

    Source: Tweedie.
    """
    return -noise / schedule.b(expand(t, zt))


def noise_from_score(schedule: Schedule, zt: State, score: State, t: Times) -> State:
    """The noise that a score implies, z_0 = -b s.

    Args:
        zt, score: (batch, ...).
        t: (batch,).

    Returns:
        z_0 (batch, ...).

    Source: Tweedie.
    """
    return -schedule.b(expand(t, zt)) * score


def pair(schedule: Schedule, zt: State, value: State, t: Times, head: str) -> tuple[State, State]:
    """Data and noise, (z_1, z_0), from a prediction of any head.

    Args:
        zt, value: (batch, ...).
        t: (batch,).
        head: What `value` is, one of HEADS.

    Returns:
        z_1, z_0 (batch, ...).

    Raises:
        UserError: On another name.
    """
    if head not in HEADS:
        raise UserError(f"no head {head!r}: choose one of {', '.join(HEADS)}")
    if head == "denoised":
        return value, noise_from_denoised(schedule, zt, value, t)
    if head == "velocity":
        return denoised_from_velocity(schedule, zt, value, t), noise_from_velocity(
            schedule, zt, value, t
        )
    noise = value if head == "noise" else noise_from_score(schedule, zt, value, t)
    return denoised_from_noise(schedule, zt, noise, t), noise


def convert(
    schedule: Schedule, zt: State, value: State, t: Times, source: str, target: str
) -> State:
    """A prediction of one head as that of another, by way of the pair: z_1 and z_0, then u = a' z_1
    + b' z_0 or s = -z_0/b.

    Args:
        zt, value: (batch, ...).
        t: (batch,), inside (0, 1).
        source, target: Of HEADS.

    Returns:
        The target's value (batch, ...).

    Raises:
        UserError: On another name.
    """
    if target not in HEADS:
        raise UserError(f"no head {target!r}: choose one of {', '.join(HEADS)}")
    clean, noise = pair(schedule, zt, value, t, source)
    return {
        "denoised": clean,
        "noise": noise,
        "velocity": schedule.velocity(clean, noise, expand(t, zt)),
        "score": score_from_noise(schedule, zt, noise, t),
    }[target]


def loss_weight(schedule: Schedule, t: Times, head: str) -> Times:
    """How many times the squared error of a clean prediction that of another head is, at one z_t.

    clean 1,  noise (a/b)^2 = e^lambda,  velocity ((a' b - a b')/b)^2 = (a lambda'/2)^2,  score
    (a/b^2)^2

    Args:
        schedule: Coefficients of the path.
        t: (batch,), below 1.
        head: One of HEADS.

    Returns:
        The weight (batch,).

    Raises:
        UserError: On another name.

    Derived in chapter 07. Source: VDM.
    """
    if head not in HEADS:
        raise UserError(f"no head {head!r}: choose one of {', '.join(HEADS)}")
    a, b = schedule.a(t), schedule.b(t)
    return {
        "denoised": torch.ones_like(t),
        "noise": a / b,
        "velocity": turning(schedule, t) / b,
        "score": a / b**2,
    }[head] ** 2
