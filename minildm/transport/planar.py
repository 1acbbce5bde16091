"""Distributions that one can draw: two modes on the line, and three clouds in the plane."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..control.bridges import Mixture


def two_modes(std: float) -> Mixture:
    """The book's mixture on the line, 1/2 N(-2, s^2) + 1/2 N(2, s^2).

    Args:
        std: s.

    Returns:
        A `Mixture` of float64.
    """
    means = torch.tensor([[-2.0], [2.0]], dtype=torch.float64)
    variances = torch.full((2,), std**2, dtype=torch.float64)
    return Mixture(torch.full((2,), 0.5).double().log(), means, variances)


def eight_gaussians(std: float = 0.1) -> Mixture:
    """Eight equal Gaussians on a circle of radius 2.

    Args:
        std: Of each Gaussian.

    Returns:
        A `Mixture` of float32.

    Derived in chapter 06.
    """
    angles = torch.arange(8) * math.pi / 4
    means = 2 * torch.stack((angles.cos(), angles.sin()), dim=1)
    return Mixture(torch.full((8,), 1 / 8).log(), means, torch.full((8,), std**2))


def two_moons(count: int, rng: torch.Generator, std: float = 0.1) -> Float[Tensor, "count 2"]:
    """Points of two interlocked half circles of radius 2, blurred.

    Args:
        count: Number of points.
        rng: Generator of the random numbers.
        std: Standard deviation of the blur.

    Returns:
        Points (count, 2).
    """
    angle = math.pi * torch.rand(count, generator=rng)
    side = torch.randint(0, 2, (count,), generator=rng) * 2.0 - 1
    moons = torch.stack((side * (2 * angle.cos() - 1), side * (2 * angle.sin() - 0.5)), dim=1)
    return moons + std * torch.randn(count, 2, generator=rng)


def checkerboard(count: int, rng: torch.Generator) -> Float[Tensor, "count 2"]:
    """Points of the dark squares of a board of 4 by 4 unit squares around the origin.

    Args:
        count: Number of points.
        rng: Generator of the random numbers.

    Returns:
        Points (count, 2).
    """
    row = torch.randint(0, 4, (count,), generator=rng)
    half = torch.randint(0, 2, (count,), generator=rng)
    column = 2 * half + row % 2
    return torch.stack((column, row), dim=1) - 2 + torch.rand(count, 2, generator=rng)


PLANES = {
    "eight gaussians": eight_gaussians().sample,
    "two moons": two_moons,
    "checkerboard": checkerboard,
}
