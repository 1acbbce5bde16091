"""Checks of chapter 08: errors of a step, DDIM, the posterior step, expansion, multistep."""

import torch
from torch import Tensor

from ..dynamics.solvers import heun
from .draws import double, rand, randn
from .rules import Counted
from .verdict import exercise


def coefficients(rng: torch.Generator) -> tuple[float, float, float, float]:
    """a and b at some time, and at a later one, of some path from noise to data."""
    t, s = rand(rng, 2).sort().values.mul(0.8).add(0.1).tolist()
    power = 1 + float(torch.rand((), generator=rng))
    return t, (1 - t) ** power, s, (1 - s) ** power


@exercise(
    "08.1",
    hints=(
        "at which two places does Heun's method ask for a slope, and which one does Euler use?",
        "evaluate the field where the step begins and where Euler's step ends: both need no more",
        "the error is Heun's state less Euler's state; write it with the two slopes",
    ),
)
def check_1():
    """The package's Heun step; a constant field has no error; u = t gives h^2/2 exactly."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((3,), (2, 4), (5, 1, 2)):
        z, weight = randn(rng, *shape), randn(rng, *shape)

        def u(z, t, weight=weight):
            return torch.sin(weight * z) + t**2

        for t, h in ((0.0, 0.5), (0.3, 0.2), (1.0, -0.4)):
            now, then = double(t, t + h)
            ahead = heun(u, z, now, then)
            yield (
                (Counted(u, 2, "u = sin(w z) + t^2"), z, t, h),
                (ahead, ahead - (z + h * u(z, now))),
            )
        yield (
            (Counted(lambda z, t, weight=weight: weight, 2, "u = w"), z, 0.2, 0.3),
            (z + 0.3 * weight, torch.zeros_like(z)),
        )
        yield (
            (Counted(lambda z, t: torch.ones_like(z) * t, 2, "u = t"), z, 0.0, 0.4),
            (z + 0.08, torch.full_like(z, 0.08)),
        )


@exercise(
    "08.2",
    hints=(
        "if the prediction were the data, which noise would the state z be made of?",
        "solve z = a * data + b * noise for the noise, with the prediction in place of the data",
        "data and noise stay as they are during the step; only their two coefficients change",
    ),
)
def check_2():
    """A point of the path of any pair goes to the point of the same pair; both ends."""
    rng = torch.Generator().manual_seed(2)
    for shape in ((4,), (2, 3), (5, 2, 2)):
        for _ in range(4):
            z1, z0 = randn(rng, *shape), randn(rng, *shape)
            a, b, a_next, b_next = coefficients(rng)
            yield (a * z1 + b * z0, z1, a, b, a_next, b_next), a_next * z1 + b_next * z0
            yield (a * z1 + b * z0, z1, a, b, 1.0, 0.0), z1
            yield (z0, z1, a, b, a, b), z0
        yield (z0, z1, 0.0, 1.0, 0.3, 0.7), 0.3 * z1 + 0.7 * z0


@exercise(
    "08.3",
    hints=(
        "given the data, which Gaussian is the next state, and how does this one depend on it?",
        "this state is a multiple of the next one plus noise: find the multiple and variance",
        "condition one Gaussian on the other: the gain is covariance over variance",
    ),
)
def check_3():
    """Conditioning of the joint Gaussian of (z_next, z_k) given z_1; from noise; to the end."""
    rng = torch.Generator().manual_seed(3)
    for shape in ((3,), (2, 5)):
        for _ in range(6):
            z, z1 = randn(rng, *shape), randn(rng, *shape)
            a, b, a_next, b_next = coefficients(rng)
            cross = a / a_next * b_next**2
            yield (
                (z, z1, a, b, a_next, b_next),
                (a_next * z1 + cross / b**2 * (z - a * z1), b_next**2 - cross**2 / b**2),
            )
        yield (z, z1, 0.0, 1.0, 0.4, 0.6), (0.4 * z1, 0.36)
        yield (z, z1, a, b, 1.0, 0.0), (z1, 0.0)


@exercise(
    "08.4",
    hints=(
        "with which probability does z belong to each mode?",
        "(08.15) needs the variance of the means given z, not under `weights`",
        "far from all modes every density is zero for the computer: use logarithms and a softmax",
    ),
)
def check_4():
    """The autograd of the closed-form field, for any weights, places and coefficients.

    Last come narrow modes close to the end of the straight path: on the border, and where every
    density is zero.
    """
    rng = torch.Generator().manual_seed(4)
    for batch, modes in ((5, 1), (4, 2), (3, 6)):
        for _ in range(4):
            z = randn(rng, batch)
            means = 2 * randn(rng, modes)
            weights = randn(rng, modes).softmax(0)
            a, b, da, db, std = (0.3 + rand(rng, 5)).tolist()
            inputs = z, means, weights, a, b, da, -db, std
            yield inputs, slopes(*inputs)
    for place, means in (
        (0.0, double(-2.0, 2.0)),
        (8.0, double(-2.0, 2.0)),
        (-9.0, double(-1.0, 0.0, 2.0)),
    ):
        weights = torch.full_like(means, 1 / len(means))
        inputs = double(place, place), means, weights, 0.99, 0.01, 1.0, -1.0, 0.03
        yield inputs, slopes(*inputs)


def slopes(z: Tensor, means: Tensor, weights: Tensor, *path: float) -> Tensor:
    """The slope at the points z of the field of a mixture on the line, by autograd.

    The path gives a, b, their derivatives, and the standard deviation of each mode.
    """
    a, b, da, db, std = path
    q = a**2 * std**2 + b**2

    def u(point):
        gap = point - a * means
        r = (weights.log() - gap**2 / (2 * q)).softmax(0)
        return (r * (da * (means + a * std**2 / q * gap) + db * b / q * gap)).sum()

    return torch.stack([torch.func.grad(u)(point) for point in z])


@exercise(
    "08.5",
    hints=(
        "what does DDIM take as constant in (08.7), and what if you knew it at two values of rho?",
        "the line through two predictions has a slope in rho: integrate it from rho to rho_next",
        "the integral of a straight line is its middle value times the length of the interval",
    ),
)
def check_5():
    """Exact for a prediction that is straight in rho = a/b; DDIM for two equal predictions."""
    rng = torch.Generator().manual_seed(5)
    for shape in ((4,), (2, 3)):
        for _ in range(6):
            z, c0, c1 = randn(rng, *shape), randn(rng, *shape), randn(rng, *shape)
            a, b, a_next, b_next = coefficients(rng)
            rho, rho_next = a / b, a_next / b_next
            before = 0.8 * rho * float(rand(rng))
            exact = b_next * (z / b + c0 * (rho_next - rho) + c1 * (rho_next**2 - rho**2) / 2)
            yield (z, c0 + c1 * rho, c0 + c1 * before, before, a, b, a_next, b_next), exact
            yield (
                (z, c0, c0, before, a, b, a_next, b_next),
                b_next / b * z + (a_next - a * b_next / b) * c0,
            )
