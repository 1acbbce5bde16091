"""Numbers that tests of the chapters draw: a seeded generator, normal numbers and scalars in double precision."""

import torch
from torch import Tensor


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def scalar(x: float) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)
