"""Rejection sampling: texts that miss a target are drawn again, as often as is allowed."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..models.base import Generation
from ..models.generation import GuidanceTarget
from ..models.guidance import is_met

Draw = Callable[[Int[Tensor, " rows"]], Generation]  # numbers of texts -> texts drawn for them


def rejection_sampling(
    draw: Draw, count: int, target: GuidanceTarget, num_tries: int, vocab_size: int
) -> Generation:
    """Draw texts, and draw those again in which a target is not met.

    A fraction h that meets the target in one try becomes 1 - (1 - h)^num_tries. What is kept has
    the distribution of `draw` given the target, but for texts that never met it.

    Args:
        draw: Draws texts for these rows.
        count: Number of texts.
        target: The terminal cost.
        num_tries: Drawings of each text.
        vocab_size: Number of ids.

    Returns:
        The texts, and the evaluations and seconds of all tries.
    """
    made = draw(torch.arange(count))
    for _ in range(num_tries - 1):
        missed = ~is_met(target, made.tokens, vocab_size)
        if not missed.any():
            break
        made = merged(made, missed, draw(missed.nonzero()[:, 0].cpu()))
    return made


def merged(made: Generation, missed: Bool[Tensor, " batch"], again: Generation) -> Generation:
    """Texts of which the missed ones are replaced by others; evaluations and seconds add up."""
    made.tokens[missed] = again.tokens
    if made.trajectory:
        for name in ("states", "denoised", "tokens", "confidence"):
            if getattr(made.trajectory, name) is not None:
                getattr(made.trajectory, name)[:, missed] = getattr(again.trajectory, name)
    return replace(made, nfe=made.nfe + again.nfe, seconds=made.seconds + again.seconds)
