"""Random inputs in double precision, from which every check draws."""

import torch
from torch import Tensor


def randn(rng: torch.Generator, *shape: int) -> Tensor:
    """Standard Gaussian numbers."""
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def rand(rng: torch.Generator, *shape: int) -> Tensor:
    """Uniform numbers between 0 and 1."""
    return torch.rand(shape, generator=rng, dtype=torch.float64)


def double(*numbers: float) -> Tensor:
    """Some numbers as a vector."""
    return torch.tensor(numbers, dtype=torch.float64)
