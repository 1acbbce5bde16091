"""Checks of chapter 08: a step with its error, DDIM, the posterior step, stiffness of a mixture, a step that remembers."""

import torch

from ..dynamics.solvers import heun
from .verdict import exercise


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def coefficients(rng: torch.Generator) -> tuple[float, float, float, float]:
    """a and b at some time, and at a later one, of some path from noise to data."""
    t, s = torch.rand(2, generator=rng, dtype=torch.float64).sort().values.mul(0.8).add(0.1).tolist()
    power = 1 + float(torch.rand((), generator=rng))
    return t, (1 - t) ** power, s, (1 - s) ** power


@exercise("08.1", hints=("k1 at the start, k2 where Euler's step ends; half their sum moves, half their difference is the error",))
def check_1():
    """The package's Heun, forward and backward; a constant field has no error; u = t is Euler's fault by h^2/2 exactly."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((3,), (2, 4), (5, 1, 2)):
        z, weight = randn(rng, *shape), randn(rng, *shape)

        def u(z, t, weight=weight):
            return torch.sin(weight * z) + t**2

        for t, h in ((0.0, 0.5), (0.3, 0.01), (1.0, -0.2)):
            now, then = torch.tensor(t, dtype=torch.float64), torch.tensor(t + h, dtype=torch.float64)
            ahead = heun(u, z, now, then)
            yield (u, z, t, h), (ahead, ahead - (z + h * u(z, now)))
        yield (lambda z, t, weight=weight: weight, z, 0.2, 0.3), (z + 0.3 * weight, torch.zeros_like(z))
        yield (lambda z, t: torch.ones_like(z) * t, z, 0.0, 0.4), (z + 0.08, torch.full_like(z, 0.08))


@exercise("08.2", hints=("keep the noise (z - a clean)/b that the prediction implies, and put it at the new time",))
def check_2():
    """A point of the path of any pair goes to the point of the same pair; to t = 1 it is the prediction; staying stays."""
    rng = torch.Generator().manual_seed(2)
    for shape in ((4,), (2, 3), (5, 2, 2)):
        for _ in range(4):
            z1, z0, (a, b, a_next, b_next) = randn(rng, *shape), randn(rng, *shape), coefficients(rng)
            yield (a * z1 + b * z0, z1, a, b, a_next, b_next), a_next * z1 + b_next * z0
            yield (a * z1 + b * z0, z1, a, b, 1.0, 0.0), z1
            yield (z0, z1, a, b, a, b), z0
        yield (z0, z1, 0.0, 1.0, 0.3, 0.7), 0.3 * z1 + 0.7 * z0


@exercise("08.3", hints=("z_k = (a/a_next) z_next + fresh noise of variance b^2 - (a/a_next)^2 b_next^2; condition",))
def check_3():
    """Conditioning of the joint Gaussian of (z_next, z_k) given z_1; from pure noise; to the end."""
    rng = torch.Generator().manual_seed(3)
    for shape in ((3,), (2, 5)):
        for _ in range(6):
            z, z1, (a, b, a_next, b_next) = randn(rng, *shape), randn(rng, *shape), coefficients(rng)
            cross = a / a_next * b_next**2
            yield ((z, z1, a, b, a_next, b_next),
                   (a_next * z1 + cross / b**2 * (z - a * z1), b_next**2 - cross**2 / b**2))
        yield (z, z1, 0.0, 1.0, 0.4, 0.6), (0.4 * z1, 0.36)
        yield (z, z1, a, b, 1.0, 0.0), (z1, 0.0)


@exercise("08.4", hints=("the variance of the means with the weights given z: their mean square less their square mean",))
def check_4():
    """The autograd of the closed-form field, for any weights, places and coefficients; one mode alone is linear."""
    rng = torch.Generator().manual_seed(4)
    for batch, modes in ((5, 1), (4, 2), (3, 6)):
        for _ in range(4):
            z, means, weights = randn(rng, batch), 2 * randn(rng, modes), randn(rng, modes).softmax(0)
            a, b, da, db, std = (0.2 + torch.rand(5, generator=rng, dtype=torch.float64)).tolist()
            q = a**2 * std**2 + b**2

            def u(z, means=means, weights=weights, a=a, b=b, da=da, db=db, std=std, q=q):
                gap = z - a * means
                r = (weights.log() - gap**2 / (2 * q)).softmax(0)
                return (r * (da * (means + a * std**2 / q * gap) - db * b / q * gap)).sum()

            slopes = torch.stack([torch.func.grad(u)(point) for point in z])
            yield (z, means, weights, a, b, da, -db, std), slopes


@exercise("08.5", hints=("integrate the line through the two predictions over rho from rho_k to rho_next, times b_next",))
def check_5():
    """Exact when the prediction is a straight line in rho = a/b; with two equal predictions it is DDIM."""
    rng = torch.Generator().manual_seed(5)
    for shape in ((4,), (2, 3)):
        for _ in range(6):
            z, c0, c1, (a, b, a_next, b_next) = randn(rng, *shape), randn(rng, *shape), randn(rng, *shape), coefficients(rng)
            rho, rho_next = a / b, a_next / b_next
            before = rho * float(torch.rand((), generator=rng, dtype=torch.float64))
            exact = b_next * (z / b + c0 * (rho_next - rho) + c1 * (rho_next**2 - rho**2) / 2)
            yield (z, c0 + c1 * rho, c0 + c1 * before, before, a, b, a_next, b_next), exact
            yield ((z, c0, c0, before, a, b, a_next, b_next),
                   b_next / b * z + (a_next - a * b_next / b) * c0)
