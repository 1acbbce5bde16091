"""How far apart two clouds of points are: Wasserstein distances in one direction and in many, and a
two-sample test.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def wasserstein_1d(
    x: Float[Tensor, "count ..."], y: Float[Tensor, "count ..."]
) -> Float[Tensor, "..."]:
    """Squared Wasserstein distance of numbers, where the best plan keeps the order: W_2^2 = mean_i
    (x_(i) - y_(i))^2.

    Args:
        x, y: (count, ...), sorted here along the first axis.

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
    """Distance of two clouds seen from random directions, sqrt(mean over e of W_2^2(e'x, e'y)).

    Args:
        x, y: (count, d).
        rng: Generator of the random numbers.
        directions: e, unit vectors.

    Returns:
        The distance, in units of x.
    """
    e = torch.randn(x.shape[1], directions, generator=rng, dtype=x.dtype, device=x.device)
    e = e / e.norm(dim=0)
    return wasserstein_1d(x @ e, y @ e).mean().sqrt()


def kolmogorov_smirnov(x: Float[Tensor, " n"], y: Float[Tensor, " m"]) -> tuple[Tensor, Tensor]:
    """Could two samples of numbers be of one law? The largest gap of their distribution functions,
    and how rare it would be.

    D = max |F_x - F_y|,  p = 2 sum_j (-1)^(j-1) exp(-2 j^2 s^2) with s^2 = D^2 n m / (n + m)

    Args:
        x: (n,), `y` (m,), hundreds or more.

    Returns:
        D and p; p < 0.01 rejects one law at 1%.

    Derived in chapter 05.
    """
    x, y = x.sort().values, y.sort().values
    both = torch.cat((x, y))
    gap = (
        (
            torch.searchsorted(x, both, right=True) / len(x)
            - torch.searchsorted(y, both, right=True) / len(y)
        )
        .abs()
        .max()
    )
    j = torch.arange(1, 101, device=x.device)
    terms = (-1.0) ** (j - 1) * torch.exp(-2 * j**2 * gap**2 * len(x) * len(y) / (len(x) + len(y)))
    return gap, (2 * terms.sum()).clamp(0, 1)
