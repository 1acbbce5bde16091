"""Distributions on the line: mixtures, how a flow moves their quantiles, and paths over time."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from ...control.bridges import Mixture


def line_mixture(weights: Sequence[float], means: Sequence[float], std: Sequence[float]) -> Mixture:
    """A mixture of Gaussians on the line.

    Args:
        weights: Their probabilities.
        means: Their means.
        std: Their standard deviations.

    Returns:
        A `Mixture` of float64.
    """
    w, m, s = (torch.tensor(numbers, dtype=torch.float64) for numbers in (weights, means, std))
    return Mixture(w.log(), m[:, None], s**2)


STANDARD = line_mixture([1.0], [0.0], [1.0])  # Gaussian noise


def middles(count: int) -> Float[Tensor, " count"]:
    """The middles of equal parts of [0, 1], which serve as ranks of points of a distribution."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def cdf(mixture: Mixture, z: Tensor) -> Tensor:
    """The distribution function F(z) of a mixture on the line."""
    stds = mixture.variances.sqrt()
    return torch.special.ndtr((z[..., None] - mixture.means[:, 0]) / stds) @ (
        mixture.log_weights.exp()
    )


def interpolate(x: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """The piecewise linear function with these values at these rising places."""
    return torch.from_numpy(np.interp(x.numpy(), places.numpy(), values.numpy()))


def quantile_flow(
    means: Float[Tensor, "time k"],
    stds: Float[Tensor, " time"],
    starts: Float[Tensor, " start"],
) -> Float[Tensor, "time start"]:
    """The paths of a flow on the line, which keep their quantiles: F_t(z_t) = F_0(z_0), by halving.

    Args:
        means: Of equally probable Gaussians at each time.
        stds: Their standard deviation.
        starts: Points of standard Gaussian noise.

    Returns:
        The points at each time.
    """
    ranks = torch.special.ndtr(starts)
    low = torch.full((len(means), len(starts)), -10.0, dtype=torch.float64)
    high = -low
    for _ in range(45):
        z = (low + high) / 2
        places = (z[..., None] - means[:, None]) / stds[:, None, None]
        less = torch.special.ndtr(places).mean(-1) < ranks
        low = torch.where(less, z, low)
        high = torch.where(less, high, z)
    return (low + high) / 2


def plot_paths(
    axes: Axes, times: Float[Tensor, " time"], paths: Float[Tensor, "time n"], **options
) -> None:
    """Plot paths over time as one line with gaps, which is drawn faster than many lines.

    Args:
        axes: Where to plot.
        times: Of the paths.
        paths: States of each.
        options: Passed on to `Axes.plot`.
    """
    gap = torch.full((1, paths.shape[1]), torch.nan, dtype=paths.dtype)
    across = torch.cat((times.to(paths.dtype), gap[0, :1])).repeat(paths.shape[1])
    axes.plot(across, torch.cat((paths, gap)).T.flatten(), **options)
