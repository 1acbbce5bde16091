"""Texts drawn by a sampler whose configuration is given in a few words."""

from minildm.models.base import Generation
from minildm.models.generation import GenerationConfig
from minildm.sampling import Sampler


def draw(
    model, count: int, *, rng, prompt=None, observed=None, record=False, **options
) -> Generation:
    """What a sampler with these options draws."""
    sampler = Sampler(model, GenerationConfig(**options))
    return sampler(count, rng=rng, prompt=prompt, observed=observed, record=record)
