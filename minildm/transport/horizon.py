"""A receding horizon of noise levels: H positions are under way, the first of them nearly finished.

v_i(k) = clip((k s - i - 1/2) / H, 0, 1),  s = H / R

At call k of the network position i is at v_i(k), in units of information. Each call moves the
horizon by s positions, so that every position is refined R times between noise and data, and n
tokens take about R n / H + R calls. H = n is nearly parallel, H = R = 1 autoregressive.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UserError


def horizon_levels(
    step: int, horizon: int, refinements: int, positions: Int[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """The level of each position at a call, v_i(k) = clip((k H / R - i - 1/2) / H, 0, 1).

    Args:
        step: k, from 0.
        horizon: H, positions under way.
        refinements: R, calls that each position takes from noise to data.
        positions: i, counted from the first one that is not given (n,).

    Returns:
        v (n,), 0 before a position begins and 1 when it is finished.

    Raises:
        UserError: On a horizon below one position, or less than one refinement.
    """
    if horizon < 1 or refinements < 1:
        raise UserError(
            f"a horizon of {horizon} positions with {refinements} refinements writes nothing: "
            "give at least 1 of both"
        )
    return ((step * horizon / refinements - positions - 0.5) / horizon).clamp(0, 1)


def training_horizon(
    texts: int, length: int, longest: int, rng: torch.Generator
) -> tuple[Float[Tensor, "texts length"], Int[Tensor, " length"], int]:
    """Levels of texts that are cut into blocks of H positions, each like a horizon on its way.

    H is uniform in log H from 1 to `longest`, and the cuts begin anywhere. A text's blocks have
    positions under way in a fraction rho of them, uniform from 1/2 to 1; the rest has not begun.
    In a tenth of the texts none has, as for a GPT that says several next tokens.

    Args:
        texts: Their number.
        length: Of a text in tokens.
        longest: Largest H.
        rng: Generator of the random numbers.

    Returns:
        Levels v (texts, length), the block of each position (length,), and the position at which
        the second block begins.
    """
    size = float(torch.rand((), generator=rng, device=rng.device))
    horizon = max(1, round(longest**size))
    begun = math.floor(horizon * float(torch.rand((), generator=rng, device=rng.device)))
    place = torch.arange(length, device=rng.device) + begun
    part, early, phase = torch.rand(3, texts, 1, generator=rng, device=rng.device)
    rho = (0.5 + 0.5 * part).masked_fill(early < 0.1, 1e-3)
    levels = (1 - (place % horizon + phase) / (horizon * rho)).clamp(min=0)
    return levels, place // horizon, horizon - begun
