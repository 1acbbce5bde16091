"""Checks of chapter 08: a step with its error, DDIM, the posterior step, expansion of a mixture, a
step that remembers.
"""

import torch

from ..dynamics.solvers import heun
from .rules import Counted
from .verdict import exercise


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def coefficients(rng: torch.Generator) -> tuple[float, float, float, float]:
    """a and b at some time, and at a later one, of some path from noise to data."""
    t, s = (
        torch.rand(2, generator=rng, dtype=torch.float64).sort().values.mul(0.8).add(0.1).tolist()
    )
    power = 1 + float(torch.rand((), generator=rng))
    return t, (1 - t) ** power, s, (1 - s) ** power


@exercise(
    "08.1",
    hints=(
        "at which two places does Heun's method ask for a slope, and which of the two does Euler's method use?",
        "call the field once where the step begins and once where Euler's step ends; both results need only these two slopes",
        "the error is the state that Heun's method reaches less the state that Euler's method reaches; write it with the slopes",
    ),
)
def check_1():
    """The package's Heun, forward and backward; a constant field has no error; u = t is Euler's
    fault by h^2/2 exactly.
    """
    rng = torch.Generator().manual_seed(1)
    for shape in ((3,), (2, 4), (5, 1, 2)):
        z, weight = randn(rng, *shape), randn(rng, *shape)

        def u(z, t, weight=weight):
            return torch.sin(weight * z) + t**2

        for t, h in ((0.0, 0.5), (0.3, 0.2), (1.0, -0.4)):
            now, then = (
                torch.tensor(t, dtype=torch.float64),
                torch.tensor(t + h, dtype=torch.float64),
            )
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
    """A point of the path of any pair goes to the point of the same pair; to t = 1 it is the
    prediction; staying stays.
    """
    rng = torch.Generator().manual_seed(2)
    for shape in ((4,), (2, 3), (5, 2, 2)):
        for _ in range(4):
            z1, z0, (a, b, a_next, b_next) = (
                randn(rng, *shape),
                randn(rng, *shape),
                coefficients(rng),
            )
            yield (a * z1 + b * z0, z1, a, b, a_next, b_next), a_next * z1 + b_next * z0
            yield (a * z1 + b * z0, z1, a, b, 1.0, 0.0), z1
            yield (z0, z1, a, b, a, b), z0
        yield (z0, z1, 0.0, 1.0, 0.3, 0.7), 0.3 * z1 + 0.7 * z0


@exercise(
    "08.3",
    hints=(
        "given the data, which Gaussian is the next state, and how does the present state depend on it?",
        "the present state is a multiple of the next one plus fresh noise; find the multiple and the variance of that noise",
        "condition two Gaussian numbers on each other: the gain is their covariance over the variance of the present state",
    ),
)
def check_3():
    """Conditioning of the joint Gaussian of (z_next, z_k) given z_1; from pure noise; to the end."""
    rng = torch.Generator().manual_seed(3)
    for shape in ((3,), (2, 5)):
        for _ in range(6):
            z, z1, (a, b, a_next, b_next) = (
                randn(rng, *shape),
                randn(rng, *shape),
                coefficients(rng),
            )
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
        "how sure is the point of its mode, and by which numbers, one for each mode, would you say so?",
        "(08.15) needs the variance of the means under the probabilities of the modes given z, not under `weights`",
        "a density far from all modes is zero for the computer: compute the probabilities from logarithms, as a softmax does",
    ),
)
def check_4():
    """The autograd of the closed-form field, for any weights, places and coefficients; one mode
    alone is linear.

    Last come narrow modes close to the end of the straight path: on the border, and where every
    density is zero.
    """
    rng = torch.Generator().manual_seed(4)
    for batch, modes in ((5, 1), (4, 2), (3, 6)):
        for _ in range(4):
            z, means, weights = (
                randn(rng, batch),
                2 * randn(rng, modes),
                randn(rng, modes).softmax(0),
            )
            a, b, da, db, std = (0.3 + torch.rand(5, generator=rng, dtype=torch.float64)).tolist()
            yield (
                (z, means, weights, a, b, da, -db, std),
                slopes(z, means, weights, a, b, da, -db, std),
            )
    for place, means in ((0.0, (-2.0, 2.0)), (8.0, (-2.0, 2.0)), (-9.0, (-1.0, 0.0, 2.0))):
        z, means = (
            torch.full((2,), place, dtype=torch.float64),
            torch.tensor(means, dtype=torch.float64),
        )
        weights = torch.full_like(means, 1 / len(means))
        yield (
            (z, means, weights, 0.99, 0.01, 1.0, -1.0, 0.03),
            slopes(z, means, weights, 0.99, 0.01, 1.0, -1.0, 0.03),
        )


def slopes(
    z: torch.Tensor,
    means: torch.Tensor,
    weights: torch.Tensor,
    a: float,
    b: float,
    da: float,
    db: float,
    std: float,
) -> torch.Tensor:
    """The slope of the field of a mixture on the line at each of the points z, by autograd."""
    q = a**2 * std**2 + b**2

    def u(point):
        gap = point - a * means
        r = (weights.log() - gap**2 / (2 * q)).softmax(0)
        return (r * (da * (means + a * std**2 / q * gap) + db * b / q * gap)).sum()

    return torch.stack([torch.func.grad(u)(point) for point in z])


@exercise(
    "08.5",
    hints=(
        "in (08.7), what is held constant by DDIM, and what would you put there if you knew it at two values of rho?",
        "the straight line through two predictions has a slope in rho; use it in the integral from rho to rho_next",
        "the integral of a straight line is its value in the middle of the interval times the length of the interval",
    ),
)
def check_5():
    """Exact when the prediction is a straight line in rho = a/b; with two equal predictions it is
    DDIM.
    """
    rng = torch.Generator().manual_seed(5)
    for shape in ((4,), (2, 3)):
        for _ in range(6):
            z, c0, c1, (a, b, a_next, b_next) = (
                randn(rng, *shape),
                randn(rng, *shape),
                randn(rng, *shape),
                coefficients(rng),
            )
            rho, rho_next = a / b, a_next / b_next
            before = 0.8 * rho * float(torch.rand((), generator=rng, dtype=torch.float64))
            exact = b_next * (z / b + c0 * (rho_next - rho) + c1 * (rho_next**2 - rho**2) / 2)
            yield (z, c0 + c1 * rho, c0 + c1 * before, before, a, b, a_next, b_next), exact
            yield (
                (z, c0, c0, before, a, b, a_next, b_next),
                b_next / b * z + (a_next - a * b_next / b) * c0,
            )
