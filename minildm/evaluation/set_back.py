"""A closed loop that is given the size of a disturbance, and sets its noise levels back."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..control.feedback import Disturbance, rollout, transport
from ..sampling.sampler import Sampler
from ..transport.schedules import Schedule
from .disturbances import generator

AFTER = 3  # added to a seed: the noise of the steps after the time was set back


def noise_level_after(
    schedule: Schedule, t: Float[Tensor, "..."], size: float | int
) -> Float[Tensor, "..."]:
    """The time t' at which a state that was displaced at t would be as noisy as it is.

    a(t')/b(t') = a(t) / sqrt(b(t)^2 + size^2)

    A displacement in a random direction is noise of this standard deviation on top of that of the
    path. Scaled by a(t')/a(t), the displaced state has the distribution of the path at t'.

    Args:
        schedule: Of the path.
        t: In (0, 1).
        size: In standard deviations of latents.

    Returns:
        t' <= t.

    Derived in chapter 13.
    """
    a = schedule.a(t)
    b = schedule.b(t)
    return schedule.from_log_snr(2 * (a / (b**2 + size**2).sqrt()).log())


@torch.no_grad()
def set_back(
    sampler: Sampler,
    paths: Disturbance,
    size: float | int,
    *,
    seed: int = 0,
) -> Int[Tensor, "b n"]:
    """The closed loop once more, given the size of the disturbance, with its times set back.

    The state is scaled, the times of positions under way go back to `noise_level_after`, and run to
    1 in the steps that are left.

    Args:
        sampler: Of a latent model, as for `disturbed`.
        paths: What `disturbed` found.
        size: Of the disturbance.
        seed: As for `disturbed`.

    Returns:
        The tokens (b, n).
    """
    model = sampler.model
    count = paths.plan.states.shape[1]
    process = sampler.process(count, generator(model, seed), seed=seed, record=True)
    times = process.times[paths.at :]
    now = times[0]
    moving = (now > 0) & (now < 1)
    safe = now.where(moving, 0.5)
    before = noise_level_after(model.schedule, safe, size).to(now.dtype)
    z = paths.closed.states[paths.at]
    z = (z * model.schedule.a(before) / model.schedule.a(safe)).where(moving, z)
    times = (before + (1 - before) * (times - now) / (1 - safe)).where(moving, times)
    rng = generator(model, seed + AFTER)
    path = rollout(transport, process.policy, z, times, process.step, rng).path
    return process.read(path.states[-1:])[0][0]
