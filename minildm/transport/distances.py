"""How far apart two clouds of points are: Wasserstein distances and a two-sample test."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.linalg import norm


def wasserstein_1d(
    x: Float[Tensor, "count ..."], y: Float[Tensor, "count ..."]
) -> Float[Tensor, "..."]:
    """Squared Wasserstein distance of numbers, where the best plan keeps the order.

    W_2^2 = mean_i (x_(i) - y_(i))^2

    Args:
        x: Numbers (count, ...), in any order along the first axis.
        y: Numbers (count, ...), likewise.

    Returns:
        W_2^2 (...).
    """
    return (x.sort(dim=0).values - y.sort(dim=0).values).square().mean(0)


def sliced_wasserstein(
    x: Float[Tensor, "count d"],
    y: Float[Tensor, "count d"],
    rng: torch.Generator,
    directions: int = 128,
) -> Float[Tensor, ""]:
    """Distance of two clouds along random directions, sqrt(mean over e of W_2^2(e'x, e'y)).

    Args:
        x: Points (count, d).
        y: Points (count, d).
        rng: Generator of the random numbers.
        directions: Number of unit vectors e.

    Returns:
        The distance, in units of x.
    """
    e = torch.randn(x.shape[1], directions, generator=rng, dtype=x.dtype, device=x.device)
    e = e / norm(e, dim=0)
    return wasserstein_1d(x @ e, y @ e).mean().sqrt()


def kolmogorov_smirnov(x: Float[Tensor, " n"], y: Float[Tensor, " m"]) -> tuple[Tensor, Tensor]:
    """The largest gap between the empirical CDFs of two samples, and how likely it is by chance.

    D = max |F_x - F_y|
    p = 2 sum_j (-1)^(j-1) exp(-2 j^2 s^2) with s^2 = D^2 n m / (n + m)

    Args:
        x: Numbers (n,), hundreds or more.
        y: Numbers (m,), hundreds or more.

    Returns:
        D and p; with p < 0.01 equal distributions are rejected at 1%.

    Derived in chapter 05.
    """
    n, m = len(x), len(y)
    both = torch.cat((x, y))
    cdf_x = torch.searchsorted(x.sort().values, both, right=True) / n
    cdf_y = torch.searchsorted(y.sort().values, both, right=True) / m
    gap = (cdf_x - cdf_y).abs().max()
    j = torch.arange(1, 101, device=x.device)
    terms = (-1.0) ** (j - 1) * torch.exp(-2 * j**2 * gap**2 * n * m / (n + m))
    return gap, (2 * terms.sum()).clamp(0, 1)
