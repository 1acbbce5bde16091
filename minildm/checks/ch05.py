"""Checks of chapter 05: the flow of a Gaussian, finite volumes, mixtures, other noise, probes."""

from itertools import product

import torch

from ..control.bridges import Mixture
from ..transport.mixtures import mixture_score, mixture_velocity
from ..transport.schedules import Linear
from .draws import rand, randn
from .rules import without_autograd
from .verdict import exercise


@exercise(
    "05.1",
    hints=(
        "which mean and which standard deviation does the cloud have at time t?",
        "(05.5) needs the derivative of the mean and the relative growth of the standard deviation",
        "the relative growth of a standard deviation is half of that of the variance",
    ),
)
def check_1():
    """The flow from N(0, I) to N(m, s^2 I): at both ends and in between."""
    rng = torch.Generator().manual_seed(1)
    for batch, d in ((1, 1), (4, 2), (3, 7)):
        m, s = randn(rng, d), 0.2 + 2 * float(rand(rng))
        data = Mixture(
            torch.zeros(1, dtype=torch.float64),
            m[None],
            torch.full((1,), s**2, dtype=torch.float64),
        )
        z = randn(rng, batch, d)
        yield (z, 0.0, m, s), m - z
        for t in (0.1, 0.5, 0.9):
            yield (
                (z, t, m, s),
                mixture_velocity(Linear(), data)(z, torch.tensor(t, dtype=torch.float64)),
            )
        yield (m[None] + s, 1.0, m, s), (m + s)[None]


@exercise(
    "05.2",
    hints=(
        "which of its two cells does an edge empty, if the drift is positive there?",
        "split the drift at the edges by sign, and let each part take the density of its own side",
        "each flux leaves one cell for its neighbor; outer walls have none; slopes are per width",
    ),
)
def check_2():
    """Finite volumes by a loop over edges, from a random and from a single full cell."""
    rng = torch.Generator().manual_seed(2)
    for n, g in ((2, 0.0), (5, 1.0), (30, 0.4)):
        p, v, width, h = rand(rng, n), randn(rng, n - 1), 0.1 + float(rand(rng)), 0.01
        full = torch.zeros(n, dtype=torch.float64)
        full[n // 2] = 1.0
        for before in (p, full):
            after = before.clone()
            for i in range(n - 1):
                upwind = before[i] if v[i] > 0 else before[i + 1]
                flux = v[i] * upwind - g**2 / 2 * (before[i + 1] - before[i]) / width
                after[i] -= h / width * flux
                after[i + 1] += h / width * flux
            yield (before, v, g, width, h), after
        yield (p, 0 * v, 0.0, width, h), p
        yield (
            (torch.ones(n, dtype=torch.float64), 0 * v, g, width, h),
            torch.ones(n, dtype=torch.float64),
        )


@exercise(
    "05.3",
    hints=(
        "far from all modes every density underflows; what of them does not?",
        "take a softmax of the logarithms of the densities, with all terms that depend on the mode",
        "both are means over modes with these responsibilities, of (05.7) and of Gaussian scores",
    ),
    rule=lambda inputs: without_autograd(),
)
def check_3():
    """Velocity and score of a mixture on the line, also far out and at both ends of time."""
    rng = torch.Generator().manual_seed(3)
    for modes in (1, 2, 5):
        weights = randn(rng, modes).softmax(0)
        means = 2 * randn(rng, modes)
        stds = 0.1 + rand(rng, modes)
        data = Mixture(weights.log(), means[:, None], stds**2)
        for t, z in (
            (0.0, randn(rng, 4)),
            (0.6, randn(rng, 6)),
            (0.95, 30 * randn(rng, 3)),
            (0.999, randn(rng, 2)),
        ):
            now = torch.tensor(t, dtype=torch.float64)
            u = mixture_velocity(Linear(), data)(z[:, None], now)
            score = mixture_score(Linear(), data)(z[:, None], now)
            yield (z, t, weights, means, stds), (u[:, 0], score[:, 0])


@exercise(
    "05.4",
    hints=(
        "which flow has the same density as the process that you are given?",
        "go through that flow: take the first noise out of the drift, then put the other one in",
        "both times the score is multiplied by half of a squared noise, once with each sign",
    ),
)
def check_4():
    """Drifts that keep one density, under more and less noise; a density at rest stays."""
    rng = torch.Generator().manual_seed(4)
    for shape in ((3,), (2, 4), (2, 3, 2)):
        v, score = randn(rng, *shape), randn(rng, *shape)
        yield (v, score, 0.0, 0.0), v
        yield (v, score, 1.3, 1.3), v
        yield (v, score, 2.0, 0.0), v - 2 * score
        for g, other in ((0.0, 1.0), (0.5, 2.0), (3.0, 0.1)):
            yield (v, score, g, other), v + (other - g) * (other + g) / 2 * score
        yield (score / 2, score, 1.0, 0.0), 0 * score


@exercise(
    "05.5",
    hints=(
        "which products of two signs still fluctuate, and which are constant?",
        "write e'Je as the trace plus a sum over pairs i < j",
        "each pair gives one product of signs with a coefficient; different pairs are uncorrelated",
    ),
)
def check_5():
    """The variance over all 2^d vectors of signs; zero for diagonal and for skew matrices."""
    rng = torch.Generator().manual_seed(5)
    for batch, d in ((1, 1), (3, 2), (2, 6)):
        J = randn(rng, batch, d, d)
        signs = torch.tensor(list(product((-1.0, 1.0), repeat=d)), dtype=torch.float64)
        guesses = torch.einsum("ni,bij,nj->bn", signs, J, signs)
        yield (J,), guesses.var(1, correction=0)
        yield (torch.diag_embed(randn(rng, batch, d)),), torch.zeros(batch, dtype=torch.float64)
        yield (J - J.mT,), torch.zeros(batch, dtype=torch.float64)
