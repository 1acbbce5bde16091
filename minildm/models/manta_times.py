"""Noise levels on which a Manta-LM is trained: from fully parallel texts to next tokens."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..transport.noise_levels import blocks, noise_levels
from ..transport.time_sampling import Uniform
from .manta_config import MantaLMConfig

SPAN = 4  # tokens that are observed together


def draw_noise_levels(
    c: MantaLMConfig,
    warp: Callable[[Tensor], Tensor],
    shape: tuple[int, int],
    step: int | Tensor,
    rng: torch.Generator,
) -> tuple[Float[Tensor, "n length"], Float[Tensor, "n length"] | None]:
    """Noise levels of the positions of texts in training, and the order of their blocks.

    Some texts have one noise level, some have observed tokens. Offsets L of blocks are uniform in
    log L from 1 to the largest.

    Args:
        c: The configuration.
        warp: From fractions of the steps to times.
        shape: (n, length).
        step: Of the training.
        rng: Generator of the random numbers.

    Returns:
        Times (n, length), and numbers (n, length) of blocks, in a model with blocks.

    Derived in chapter 13.
    """
    n, length = shape
    t = Uniform().draw(n, rng)
    offset, parallel, observed, fraction = torch.rand(4, n, generator=rng, device=rng.device)
    offset = c.max_offset**offset if c.blocks else c.max_offset * offset
    offset = offset.masked_fill(parallel < c.fully_parallel_fraction, 0.0)
    spans = torch.rand(n, -(-length // SPAN), generator=rng, device=rng.device)
    spans = spans.repeat_interleave(SPAN, dim=1)[:, :length]
    moving = (spans >= fraction[:, None]) | (observed >= c.observed_fraction)[:, None]
    if not c.blocks:
        return warp(noise_levels(t, offset, moving)), None
    tau, order = blocks(t, offset, moving)
    alone, part = next_token_blocks(c, moving, step, rng)
    return warp(tau).masked_fill(alone, 0.0), part.where(alone, order)


def next_token_blocks(
    c: MantaLMConfig, moving: Bool[Tensor, "n length"], step: int | Tensor, rng: torch.Generator
) -> tuple[Bool[Tensor, "n length"], Float[Tensor, "n length"]]:
    """Positions that are predicted from noise alone, given the tokens before, and their blocks.

    Sizes of the blocks are uniform in the logarithm, up to the largest.

    Args:
        c: The configuration.
        moving: Positions that are not observed.
        step: Of the training.
        rng: Generator of the random numbers.

    Returns:
        (n, length) which positions, and (n, length) the numbers of their blocks.
    """
    n = len(moving)
    chosen = torch.rand(n, generator=rng, device=rng.device) < c.next_token_fraction
    alone = (chosen | (step < c.next_token_steps))[:, None] & moving
    size = (c.block_size + 1) ** torch.rand(n, 1, generator=rng, device=rng.device)
    size = size.floor().clamp(max=c.block_size)
    first = size * torch.rand(n, 1, generator=rng, device=rng.device)
    part = ((moving.cumsum(1) + first) / size).floor()
    return alone, part.masked_fill(~moving, -torch.inf)
