"""A closed loop that is given the size of a disturbance, and sets its noise levels back."""

import torch
from jaxtyping import Int
from torch import Tensor

from ..control.feedback import Disturbance, rollout, transport
from ..sampling.sampler import Sampler
from ..transport.horizon import noise_level_after
from .disturbances import generator

AFTER = 3  # added to a seed: the noise of the steps after the time was set back


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
