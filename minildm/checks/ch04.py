"""Checks of chapter 04: a noisy step, a value, bridges, Doob's drift, Sinkhorn, a variance."""

import math

import torch

from ..control.bridges import Mixture, doob, mixture_h
from ..control.linear_quadratic import soft_terminal_value
from ..control.sinkhorn import half_squares
from ..dynamics.solvers import euler_maruyama
from .draws import double, rand, randn
from .rules import without_autograd
from .verdict import Must, as_numbers, exercise


@exercise(
    "04.1",
    hints=(
        "how far does the drift carry the point in a time h, and how far does the noise?",
        "variances of independent increments add up: how does the size of one depend on h?",
        "(04.2) has one term that is linear in h and one that is not; both are added to z",
    ),
)
def check_1():
    """The package's step with the same xi; a step of length zero stays where it is."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((3,), (2, 4), (5, 1, 2)):
        for t, h, g in ((0.0, 0.5, 1.0), (0.2, 0.01, 3.0), (0.9, 0.0, 2.0), (0.1, 0.3, 0.0)):
            z, u = randn(rng, *shape), randn(rng, *shape)
            seed = int(torch.randint(1000, (), generator=rng))
            xi = torch.randn(
                shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
            )
            step = euler_maruyama(g)
            now = torch.tensor(t, dtype=torch.float64)
            then = now + h
            expected = step(lambda z, t, u=u: u, z, now, then, torch.Generator().manual_seed(seed))
            yield (z, u, float(then - now), g, xi), expected


@exercise(
    "04.2",
    hints=(
        "what is paid by a point that already stands on its target?",
        "(04.12) has a part that depends on the place and a part that every coordinate pays alike",
        "the logarithm is of the denominator of the first part; count the coordinates",
    ),
)
def check_2():
    """The value with a terminal cost under noise, in any dimension; the cost itself at t = 1."""
    rng = torch.Generator().manual_seed(2)
    for batch, d in ((1, 1), (4, 2), (3, 16)):
        z, y = randn(rng, batch, d), randn(rng, batch, d)
        for c, g, t in ((1.0, 0.0, 0.3), (10.0, 1.0, 0.0), (3.0, 2.0, 0.7)):
            yield (z, y, t, c, g), soft_terminal_value(y, z, t, c, g)
        yield (z, y, 1.0, 5.0, 2.0), 5 * (z - y).square().sum(-1) / 2


@exercise(
    "04.3",
    hints=(
        "which durations does (04.13) use, and which of them change when the end is at r?",
        "scale time so that the bridge runs from 0 to 1",
        "the mean is on a straight line; the variance is a product of durations over their sum",
    ),
)
def check_3():
    """Conditioning of the Gaussian pair (Z_s, Z_r) given Z_t; both ends."""
    rng = torch.Generator().manual_seed(3)
    for shape in ((2,), (3, 2)):
        z, y = randn(rng, *shape), randn(rng, *shape)
        for t, s, r, g in ((0.0, 0.5, 1.0, 1.0), (0.2, 0.3, 0.9, 2.0), (-1.0, 2.0, 5.0, 0.5)):
            early, whole = g**2 * (s - t), g**2 * (r - t)
            yield (z, y, t, s, r, g), (z + early / whole * (y - z), early - early**2 / whole)
        yield (z, y, 0.0, 0.0, 2.0, 1.0), (z, 0.0)
        yield (z, y, 0.0, 2.0, 2.0, 1.0), (y, 0.0)


@exercise(
    "04.4",
    hints=(
        "what is h for this weight, if uncontrolled noise blurs each mode?",
        "the derivative of a sum over the sum is a mean of single derivatives: with which weights?",
        "the weights are responsibilities: compute them from logarithms, since densities underflow",
    ),
    rule=lambda inputs: without_autograd(),
)
def check_4():
    """One mode of no variance, two equal modes, and the autograd of log h."""
    rng = torch.Generator().manual_seed(4)
    z, y = randn(rng, 5), randn(rng, 1)
    yield (z, 0.4, torch.ones(1, dtype=torch.float64), y, 0.0, 2.0), (y - z) / 0.6
    yield (
        (
            torch.zeros(1, dtype=torch.float64),
            0.2,
            torch.full((2,), 0.5, dtype=torch.float64),
            double(-2.0, 2.0),
            0.1,
            1.0,
        ),
        torch.zeros(1, dtype=torch.float64),
    )
    for modes, v, g, t in (
        (2, 0.25, 1.0, 0.0),
        (3, 0.1, 0.3, 0.5),
        (5, 0.0, 2.0, 0.99),
        (2, 1e-4, 0.05, 0.9),
    ):
        weights, means = randn(rng, modes).softmax(0), 2 * randn(rng, modes)
        weight = Mixture(
            weights.log(), means[:, None], torch.full((modes,), v, dtype=torch.float64)
        )
        drift = doob(mixture_h(weight, g), g)(z[:, None], torch.tensor(t, dtype=torch.float64))[
            :, 0
        ]
        yield (z, t, weights, means, v, g), drift


@exercise(
    "04.5",
    hints=(
        "which numbers underflow when all costs are large against epsilon?",
        "keep potentials, not factors, and use logsumexp; each half round makes one marginal right",
        "after a half round one marginal is exact: go on until the error of the other is small",
    ),
)
def check_5():
    """Marginals right to 1e-8, and log plan + C / epsilon a row term plus a column term.

    Some clouds are far apart, where exp(-C/epsilon) is zero everywhere; others converge after
    hundreds of rounds only.
    """
    rng = torch.Generator().manual_seed(5)
    sizes = (
        (1, 1, 1.0, 0),
        (4, 6, 1.0, 0),
        (10, 10, 0.2, 0),
        (5, 8, 20.0, 0),
        (6, 4, 0.5, 40),
        (6, 6, 0.02, 0),
    )
    for n, m, epsilon, far in sizes:
        cost = half_squares(randn(rng, n, 2), randn(rng, m, 2) + far)
        a, b = randn(rng, n).softmax(0), randn(rng, m).softmax(0)

        def solved(got, cost=cost, a=a, b=b, epsilon=epsilon):
            plan = as_numbers(got)
            if plan is None or plan.shape != cost.shape or not (plan > 0).all():
                return False
            gain = plan.double().log() + cost / epsilon
            apart = gain - gain[:1] - gain[:, :1] + gain[:1, :1]
            errors = [float(x.abs().sum()) for x in (plan.sum(0) - b, plan.sum(1) - a)]
            return max(errors) < 1.01e-8 and float(apart.abs().max()) < 1e-6

        yield (
            (cost, a, b, epsilon),
            Must("the coupling that solves (04.20), with marginals right to 1e-8", solved),
        )


@exercise(
    "04.6",
    hints=(
        "of which independent parts does Z_t in (04.14) consist?",
        "both ends vary, they are correlated, and the bridge between them adds its own variance",
        "the variance of (1 - t) z_0 + t z_1, with (04.23) as covariance, plus the bridge's",
    ),
)
def check_6():
    """Both ends, no noise, and Sinkhorn's covariance, which solves k g^2 = s0^2 s1^2 - k^2."""
    rng = torch.Generator().manual_seed(6)
    for _ in range(6):
        s0, s1, g = (0.2 + 2 * rand(rng, 3)).tolist()
        yield (0.0, s0, s1, g), s0**2
        yield (1.0, s0, s1, g), s1**2
        t = float(torch.rand(1, generator=rng))
        yield (t, s0, s1, 0.0), ((1 - t) * s0 + t * s1) ** 2
        low, high = 0.0, s0 * s1
        for _ in range(100):
            k = (low + high) / 2
            low, high = (k, high) if k * g**2 < (s0 * s1) ** 2 - k**2 else (low, k)
        yield (
            (t, s0, s1, g),
            math.fsum(
                ((1 - t) ** 2 * s0**2, t**2 * s1**2, 2 * t * (1 - t) * k, g**2 * t * (1 - t))
            ),
        )
