"""Checks of chapter 11: attention with weights, quadrature, rotations, filters, slices."""

import math

import torch

from .draws import double, randn
from .rules import Small
from .verdict import exercise


@exercise(
    "11.1",
    hints=(
        "what becomes of a factor of an exponential when it is written in the exponent?",
        "a weight stands in numerator and denominator; what is the scale of a score in d channels?",
        "scores over the square root of d, plus the logarithm of the weight, then a softmax",
    ),
)
def check_1():
    """Plain attention to points repeated as often as their weights say; large scores."""
    rng = torch.Generator().manual_seed(1)
    for n, d, c in ((2, 2, 1), (4, 3, 5), (6, 8, 2)):
        q, k, v = randn(rng, n, d), randn(rng, n, d), randn(rng, n, c)
        for size in (1.0, 2000.0):
            times = torch.randint(0, 4, (n,), generator=rng)
            times[0] += 1
            keys, values = k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)
            scores = size * q @ keys.T / math.sqrt(d)
            similar = (scores - scores.amax(1, keepdim=True)).exp()
            yield (
                (size * q, k, v, times.double() / times.sum()),
                similar @ values / similar.sum(1, keepdim=True),
            )


@exercise(
    "11.2",
    hints=(
        "what is the integral of a straight line over one gap, by its values at the two ends?",
        "take one point: to which gaps does its value contribute, and with which factor?",
        "half of the gap on each side, where there is one; then make the sum one",
    ),
)
def check_2():
    """Integrals of hat functions: one at a point, zero at the others, straight between."""
    rng = torch.Generator().manual_seed(2)
    for n in (2, 3, 7):
        points = (3 * randn(rng, n)).sort().values
        length = float(points[-1] - points[0])
        teeth = [
            sum(
                float(gap) / 2
                for gap in (
                    points[j] - points[max(j - 1, 0)],
                    points[min(j + 1, n - 1)] - points[j],
                )
            )
            for j in range(n)
        ]
        yield (points,), torch.tensor(teeth, dtype=torch.float64) / length
    yield (
        (torch.arange(5, dtype=torch.float64),),
        double(0.125, 0.25, 0.25, 0.25, 0.125),
    )


@exercise(
    "11.3",
    rule=lambda inputs: Small(most=2**20, real=True),
    hints=(
        "which two numbers of a row does one rotation mix, and by which angle?",
        "(11.12) is a matrix of two rows: each of the two new numbers needs both of the old ones",
        "split rows into halves, combine them by cosine and sine of position times rate, and join",
    ),
)
def check_3():
    """Each pair times its matrix; positions may be fractional and negative."""
    rng = torch.Generator().manual_seed(3)
    for n, d, base in ((1, 2, 10_000.0), (4, 6, 100.0), (3, 8, 10_000.0)):
        x, positions = randn(rng, n, d), 10 * randn(rng, n)
        expected = torch.zeros(n, d, dtype=torch.float64)
        for i in range(n):
            for c in range(d // 2):
                angle = float(positions[i]) * base ** (-2 * c / d)
                cos, sin, one, two = math.cos(angle), math.sin(angle), x[i, c], x[i, c + d // 2]
                expected[i, c], expected[i, c + d // 2] = (
                    cos * one - sin * two,
                    sin * one + cos * two,
                )
        yield (x, positions, base), expected


@exercise(
    "11.4",
    rule=lambda inputs: Small(most=len(inputs[0]) ** 2 - 1),
    hints=(
        "in which order can one sum over points and waves so that no pair of points appears?",
        "first the coefficient of each wave, then times R, then the sum over waves at a position",
        "waves m and -m give conjugates: together twice a real part; wave 0 has no partner",
    ),
)
def check_4():
    """The kernel written out; one wave alone is the mean; a shift moves a text of slow waves."""
    rng = torch.Generator().manual_seed(4)
    for n, M, period in ((16, 1, 7.0), (24, 3, 6.0), (40, 4, 20.0)):
        values, positions, weights = randn(rng, n), 5 * randn(rng, n), randn(rng, n).softmax(0)
        R = torch.complex(randn(rng, M), randn(rng, M))
        kernel = torch.zeros(n, n, dtype=torch.float64)
        for m in range(M):
            angle = 2 * math.pi * m / period * (positions[:, None] - positions)
            kernel += (2 if m else 1) * (R[m].real * angle.cos() - R[m].imag * angle.sin())
        yield (values, positions, weights, R, period), kernel @ (weights * values)
    places = torch.arange(48, dtype=torch.float64)
    wave = torch.cos(2 * math.pi * 3 * places / 16) + 0.5
    shift = torch.exp(2j * math.pi * 5 * torch.arange(5, dtype=torch.float64) / 16)
    yield (wave, places, torch.full((48,), 1 / 48, dtype=torch.float64), shift, 16.0), wave.roll(-5)


@exercise(
    "11.5",
    hints=(
        "which of the three factors in (11.19) divides by a sum, and over what does it run?",
        "s_g is a mean: the weights of the points inside of one slice sum to one",
        "three matrices: from a point to slices, from slices to slices, from a slice to points",
    ),
)
def check_5():
    """Entry by entry; one slice gives the weights in every row."""
    rng = torch.Generator().manual_seed(5)
    for n, G in ((4, 1), (5, 2), (6, 4)):
        assign, weights, T = randn(rng, n, G).softmax(1), randn(rng, n).softmax(0), randn(rng, G, G)
        mass = [float((weights * assign[:, g]).sum()) for g in range(G)]
        expected = torch.zeros(n, n, dtype=torch.float64)
        for i in range(n):
            for j in range(n):
                expected[i, j] = sum(
                    assign[i, g] * T[g, e] * weights[j] * assign[j, e] / mass[e]
                    for g in range(G)
                    for e in range(G)
                )
        yield (assign, weights, T), expected
    weights = randn(rng, 3).softmax(0)
    yield (
        (torch.ones(3, 1, dtype=torch.float64), weights, torch.ones(1, 1, dtype=torch.float64)),
        weights.expand(3, 3).clone(),
    )
