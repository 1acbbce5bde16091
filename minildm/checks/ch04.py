"""Checks of chapter 04: a step with noise, a price for noise, a bridge between any times, Doob's drift, Sinkhorn's sweep."""

import math

import torch

from ..control.bridges import Mixture, doob, mixture_h
from ..control.linear_quadratic import soft_value
from ..control.sinkhorn import half_squares
from ..dynamics.solvers import euler_maruyama
from .verdict import Must, exercise


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@exercise("04.1", hints=("the drift is multiplied by the length of the step, the noise by its square root",))
def check_1():
    """Steps of any length equal the package's, which draws the same xi; a step of length zero stays where it is."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((3,), (2, 4), (5, 1, 2)):
        for t, h, g in ((0.0, 0.5, 1.0), (0.2, 0.01, 3.0), (0.9, 0.0, 2.0), (0.1, 0.3, 0.0)):
            z, u = randn(rng, *shape), randn(rng, *shape)
            seed = int(torch.randint(1000, (), generator=rng))
            xi = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            step = euler_maruyama(g)
            now, then = torch.tensor(t, dtype=torch.float64), torch.tensor(t, dtype=torch.float64) + h
            expected = step(lambda z, t, u=u: u, z, now, then, torch.Generator().manual_seed(seed))
            yield (z, u, float(then - now), g, xi), expected


@exercise("04.2", hints=("the value of chapter 03, plus d g^2/2 log(1 + c (1 - t)), which is the same at every z",))
def check_2():
    """The value of the soft law under noise, in any number of dimensions; at t = 1 it is the terminal cost."""
    rng = torch.Generator().manual_seed(2)
    for batch, d in ((1, 1), (4, 2), (3, 16)):
        z, y = randn(rng, batch, d), randn(rng, batch, d)
        for c, g, t in ((1.0, 0.0, 0.3), (10.0, 1.0, 0.0), (3.0, 2.0, 0.7)):
            yield (z, y, t, c, g), soft_value(y, z, t, c, g)
        yield (z, y, 1.0, 5.0, 2.0), 5 * (z - y).square().sum(-1) / 2


@exercise("04.3", hints=("scale time so that the bridge runs from 0 to 1: the share of the way is (s - t)/(r - t)",))
def check_3():
    """Conditioning of the Gaussian pair (Z_s, Z_r) given Z_t; the middle of a long bridge; both ends."""
    rng = torch.Generator().manual_seed(3)
    for shape in ((2,), (3, 2)):
        z, y = randn(rng, *shape), randn(rng, *shape)
        for t, s, r, g in ((0.0, 0.5, 1.0, 1.0), (0.2, 0.3, 0.9, 2.0), (-1.0, 2.0, 5.0, 0.5)):
            early, whole = g**2 * (s - t), g**2 * (r - t)
            yield (z, y, t, s, r, g), (z + early / whole * (y - z), early - early**2 / whole)
        yield (z, y, 0.0, 0.0, 2.0, 1.0), (z, 0.0)
        yield (z, y, 0.0, 2.0, 2.0, 1.0), (y, 0.0)


@exercise("04.4", hints=("u = sum_k r_k (m_k - z) g^2 / (v + g^2 (1 - t)), where r_k is the share of mode k at z at this time",))
def check_4():
    """One mode of no width is the pinned law; between two even modes nothing moves; else the autograd of log h."""
    rng = torch.Generator().manual_seed(4)
    z, y = randn(rng, 5), randn(rng, 1)
    yield (z, 0.4, torch.ones(1, dtype=torch.float64), y, 0.0, 2.0), (y - z) / 0.6
    yield (torch.zeros(1, dtype=torch.float64), 0.2, torch.full((2,), 0.5, dtype=torch.float64),
           torch.tensor([-2.0, 2.0], dtype=torch.float64), 0.1, 1.0), torch.zeros(1, dtype=torch.float64)
    for modes, v, g, t in ((2, 0.25, 1.0, 0.0), (3, 0.1, 0.3, 0.5), (5, 0.0, 2.0, 0.99), (2, 1e-4, 0.05, 0.9)):
        weights, means = randn(rng, modes).softmax(0), 2 * randn(rng, modes)
        weight = Mixture(weights.log(), means[:, None], torch.full((modes,), v, dtype=torch.float64))
        drift = doob(mixture_h(weight, g), g)(z[:, None], torch.tensor(t, dtype=torch.float64))[:, 0]
        yield (z, t, weights, means, v, g), drift


@exercise("04.5", hints=("work with log a, log b and logsumexp; a new beta makes the columns right, a new alpha the rows",))
def check_5():
    """A coupling with the right marginals whose logarithm is C / -epsilon plus a row term plus a column term."""
    rng = torch.Generator().manual_seed(5)
    for n, m, epsilon in ((1, 1, 1.0), (4, 6, 1.0), (10, 10, 0.2), (5, 8, 20.0)):
        cost = half_squares(randn(rng, n, 2), randn(rng, m, 2))
        a, b = randn(rng, n).softmax(0), randn(rng, m).softmax(0)

        def solved(got, cost=cost, a=a, b=b, epsilon=epsilon):
            if not isinstance(got, torch.Tensor) or got.shape != cost.shape or not (got > 0).all():
                return False
            gain = got.log() + cost / epsilon
            apart = gain - gain[:1] - gain[:, :1] + gain[:1, :1]
            return bool((got.sum(0) - b).abs().sum() + (got.sum(1) - a).abs().sum() < 1e-5 and apart.abs().max() < 1e-6)

        yield (cost, a, b, epsilon), Must("a coupling of a and b, a_i b_j exp((alpha_i + beta_j - C_ij)/epsilon)", solved)


@exercise("04.6", hints=("Var(Z_t) has four parts: both ends, twice their covariance, and the bridge between them",))
def check_6():
    """Both ends for any noise; the straight blend for no noise; Sinkhorn's covariance solves k g^2 = s0^2 s1^2 - k^2."""
    rng = torch.Generator().manual_seed(6)
    for _ in range(6):
        s0, s1, g = (0.2 + 2 * torch.rand(3, generator=rng, dtype=torch.float64)).tolist()
        yield (0.0, s0, s1, g), s0**2
        yield (1.0, s0, s1, g), s1**2
        t = float(torch.rand(1, generator=rng))
        yield (t, s0, s1, 0.0), ((1 - t) * s0 + t * s1) ** 2
        low, high = 0.0, s0 * s1
        for _ in range(100):
            k = (low + high) / 2
            low, high = (k, high) if k * g**2 < (s0 * s1) ** 2 - k**2 else (low, k)
        yield (t, s0, s1, g), math.fsum(((1 - t) ** 2 * s0**2, t**2 * s1**2, 2 * t * (1 - t) * k, g**2 * t * (1 - t)))
