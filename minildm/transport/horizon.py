"""A receding horizon of noise levels: H positions are under way, the first of them nearly finished.

v_i(k) = clip((k H / R - i) / H, 0, 1)

After evaluation k of the network position i is at level v_i(k), a quantile of the time
distribution. Each evaluation moves the horizon by H / R positions, so that every position is
refined R times between noise and data, and n tokens take about R n / H + R evaluations. With
H = R = 1 a text is written token by token; the larger H, the more of its tokens travel together.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import UserError
from .schedules import Schedule


def horizon_grid(
    horizon: int, refinements: int, moving: Bool[Tensor, "batch n"]
) -> Float[Tensor, "time batch n"]:
    """The level of each position before each evaluation and after the last one, v_i(k).

    Args:
        horizon: H, positions under way.
        refinements: R, evaluations that each position takes from noise to data.
        moving: Which positions move (batch, n); i counts these alone.

    Returns:
        v (time, batch, n), from 0 before a position begins to 1 when it is finished, and 1 all the
        way where it does not move.

    Raises:
        UserError: On a horizon below one position, or less than one refinement.

    Source: Rolling Diffusion 2402.09470; Diffusion Forcing 2407.01392.
    """
    if horizon < 1 or refinements < 1:
        raise UserError(
            f"a horizon of {horizon} positions with {refinements} refinements writes nothing: "
            "give at least 1 of both"
        )
    rank = (moving.cumsum(1) - 1).where(moving, -torch.inf)
    count = int(moving.sum(1).max())
    evaluations = -(-refinements * (horizon + count - 1) // horizon)
    k = torch.arange(evaluations + 1, device=moving.device)[:, None, None]
    v = ((k * horizon / refinements - rank) / horizon).clamp(0, 1)
    changes = (v.diff(dim=0) > 0).flatten(1).any(1)
    return torch.cat((v[:-1][changes], v[-1:]))


def training_levels(
    texts: int, length: int, flat: float, horizons: tuple[float, float], rng: torch.Generator
) -> Float[Tensor, "texts length"]:
    """Levels of texts in training: those of a horizon on its way, or one level for all positions.

    v_i = clip((x (n + H) - i) / H, 0, 1),  x uniform, H uniform in log H

    Args:
        texts: Their number.
        length: n, of a text in latents.
        flat: Fraction of the texts whose positions have one level.
        horizons: Smallest and largest H.
        rng: Generator of the random numbers.

    Returns:
        v (texts, length).
    """
    x, size, other = torch.rand(3, texts, 1, generator=rng, device=rng.device)
    low, high = horizons
    horizon = low * (high / low) ** size
    place = torch.arange(length, device=rng.device)
    ramp = ((x * (length + horizon) - place) / horizon).clamp(0, 1)
    return x.where(other < flat, ramp)


def noise_level_after(
    schedule: Schedule, t: Float[Tensor, "..."], size: float | int | Tensor
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


def excess_variance(
    z: Float[Tensor, "batch n d"], moving: Bool[Tensor, "batch n"]
) -> Float[Tensor, "batch one one"]:
    """How much noisier than its path a text is, from the state alone; 0 within 4 standard errors.

    delta^2 = mean |z_i|^2 / d - 1 over the latents under way,  standard error sqrt(2 / (m d))

    On a variance-preserving path every latent has variance 1 at all times, so that what is above 1
    is a disturbance.

    Args:
        z: State (batch, n, d).
        moving: Which of the latents are under way, m of each text.

    Returns:
        delta^2 of each text.
    """
    count = (moving.sum(1) * z.shape[-1]).clamp(min=1)
    power = (z.square().sum(-1) * moving).sum(1) / count
    excess = power - 1
    return excess.where(excess > 4 * (2 / count).sqrt(), 0.0)[:, None, None]
