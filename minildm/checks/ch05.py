"""Checks of chapter 05: a Gaussian's flow, boxes that look upwind, a mixture's flow, other noise, the error of a probe."""

from itertools import product

import torch

from ..control.bridges import Mixture
from ..transport.mixtures import mixture_score, mixture_velocity
from ..transport.schedules import Linear
from .verdict import exercise


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def rand(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Uniform numbers in double precision."""
    return torch.rand(shape, generator=rng, dtype=torch.float64)


@exercise("05.1", hints=("the variance at time t is t^2 s^2 + (1 - t)^2; s'/s in (05.5) is half its derivative over itself",))
def check_1():
    """The flow from N(0, I) to N(m, s^2 I): where it starts, where it carries one standard deviation, and in between."""
    rng = torch.Generator().manual_seed(1)
    for batch, d in ((1, 1), (4, 2), (3, 7)):
        m, s = randn(rng, d), 0.2 + 2 * float(rand(rng))
        law = Mixture(torch.zeros(1, dtype=torch.float64), m[None], torch.full((1,), s**2, dtype=torch.float64))
        z = randn(rng, batch, d)
        yield (z, 0.0, m, s), m - z
        for t in (0.1, 0.5, 0.9):
            yield (z, t, m, s), mixture_velocity(Linear(), law)(z, torch.tensor(t, dtype=torch.float64))
        yield (m[None] + s, 1.0, m, s), (m + s)[None]


@exercise("05.2", hints=("where v > 0 the edge takes the density of the box to its left, where v < 0 of the one to its right",))
def check_2():
    """Boxes by a loop over edges; a single full box under a strong drift gives only what it has; nothing moves without flux."""
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
        yield (torch.ones(n, dtype=torch.float64), 0 * v, g, width, h), torch.ones(n, dtype=torch.float64)


@exercise("05.3", hints=("shares r_k are a softmax over modes of log w_k - (z - t m_k)^2/(2 q_k) - log(q_k)/2",))
def check_3():
    """Velocity and score of a mixture on the line: one mode, many modes, far out in the tail, and at both ends of time."""
    rng = torch.Generator().manual_seed(3)
    for modes in (1, 2, 5):
        weights, means, stds = randn(rng, modes).softmax(0), 2 * randn(rng, modes), 0.1 + rand(rng, modes)
        law = Mixture(weights.log(), means[:, None], stds**2)
        for t, z in ((0.0, randn(rng, 4)), (0.6, randn(rng, 6)), (0.95, 30 * randn(rng, 3)), (0.999, randn(rng, 2))):
            now = torch.tensor(t, dtype=torch.float64)
            u, score = (make(Linear(), law)(z[:, None], now)[:, 0] for make in (mixture_velocity, mixture_score))
            yield (z, t, weights, means, stds), (u, score)


@exercise("05.4", hints=("go through the flow: take g^2/2 score off the drift, and put more or less of it back",))
def check_4():
    """Drifts of one law: no noise, the same noise, more, less; a law at rest stays at rest."""
    rng = torch.Generator().manual_seed(4)
    for shape in ((3,), (2, 4), (2, 3, 2)):
        v, score = randn(rng, *shape), randn(rng, *shape)
        yield (v, score, 0.0, 0.0), v
        yield (v, score, 1.3, 1.3), v
        yield (v, score, 2.0, 0.0), v - 2 * score
        for g, other in ((0.0, 1.0), (0.5, 2.0), (3.0, 0.1)):
            yield (v, score, g, other), v + (other - g) * (other + g) / 2 * score
        yield (score / 2, score, 1.0, 0.0), 0 * score


@exercise("05.5", hints=("e'Je is the trace plus a sum over i < j of (J_ij + J_ji) e_i e_j, and these products are uncorrelated",))
def check_5():
    """The variance over all 2^d vectors of signs; none for a diagonal matrix, none for a rotation."""
    rng = torch.Generator().manual_seed(5)
    for batch, d in ((1, 1), (3, 2), (2, 6)):
        J = randn(rng, batch, d, d)
        signs = torch.tensor(list(product((-1.0, 1.0), repeat=d)), dtype=torch.float64)
        guesses = torch.einsum("ni,bij,nj->bn", signs, J, signs)
        yield (J,), guesses.var(1, correction=0)
        yield (torch.diag_embed(randn(rng, batch, d)),), torch.zeros(batch, dtype=torch.float64)
        yield (J - J.mT,), torch.zeros(batch, dtype=torch.float64)
