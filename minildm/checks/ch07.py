"""Checks of chapter 07: schedules inverted, heads converted, noising, isotonic regression."""

import numpy as np
import torch

from ..control.bridges import Mixture
from ..transport.heads import convert
from ..transport.mixtures import mixture_score, posterior
from ..transport.paths import sample_path
from ..transport.schedules import Cosine, Linear, Tangent
from ..transport.time_sampling import isotonic_decreasing
from .draws import double, rand, randn
from .verdict import exercise

SCHEDULES = (Linear(), Cosine(), Tangent(3.0), Tangent(9.0))


def times(rng: torch.Generator, count: int) -> torch.Tensor:
    """Times away from both ends, (count, 1)."""
    return 0.05 + 0.9 * rand(rng, count, 1)


@exercise(
    "07.1",
    hints=(
        "which function of t is the ratio a/b of tan-d?",
        "the log-SNR is twice the logarithm of that ratio",
        "undo the steps one by one: the logarithm, the factor d, the tangent, the factor pi/2",
    ),
)
def check_1():
    """The package's schedule, for any shape; both ends."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((5,), (2, 3), ()):
        for d in (1.0, 3.0, 0.4):
            log_snr = 5 * randn(rng, *shape)
            yield (log_snr, d), Tangent(d).from_log_snr(log_snr)
    yield (
        (double(-torch.inf, torch.inf), 3.0),
        double(0.0, 1.0),
    )


@exercise(
    "07.2",
    hints=(
        "what does the score say of the noise in z?",
        "(07.7) gives the posterior mean of the noise; the state combines the two posterior means",
        "solve z = a z_1 + b z_0 for the data, with the noise replaced",
    ),
    tolerance=1e-4,
)
def check_2():
    """The posterior mean of mixtures from their scores; a small a magnifies rounding."""
    rng = torch.Generator().manual_seed(2)
    for schedule in SCHEDULES:
        for d in (1, 3):
            data = Mixture(
                randn(rng, 4).log_softmax(0),
                2 * randn(rng, 4, d),
                torch.full((4,), 0.2, dtype=torch.float64),
            )
            z, t = 2 * randn(rng, 6, d), times(rng, 1)[0, 0]
            yield (
                (z, mixture_score(schedule, data)(z, t), schedule.a(t), schedule.b(t)),
                posterior(schedule, data, z, t)[0],
            )


@exercise(
    "07.3",
    hints=(
        "which two quantities make up the velocity of the path?",
        "the data are not given, but z and the noise determine them",
        "insert them into a' z_1 + b' z_0, and collect the terms with the noise",
    ),
)
def check_3():
    """True pairs and wrong predictions alike, converted by the package."""
    rng = torch.Generator().manual_seed(3)
    for schedule in SCHEDULES:
        t = times(rng, 5)
        sample = sample_path(schedule, randn(rng, 5, 3), randn(rng, 5, 3), t[:, 0])
        for noise in (sample.z0, randn(rng, 5, 3)):
            wanted = convert(schedule, sample.zt, noise, t[:, 0], "noise", "velocity")
            yield (
                (sample.zt, noise, schedule.a(t), schedule.b(t), schedule.da(t), schedule.db(t)),
                wanted,
            )


@exercise(
    "07.4",
    hints=(
        "by which factor must z shrink so that the data in it have the amount a_r?",
        "variances add: the noise in z shrinks as well, and the rest must be fresh",
        "the fresh noise has the variance that is missing from b_r^2; xi needs its square root",
    ),
)
def check_4():
    """One noising step; from the data itself it is the path; a step of no length stays."""
    rng = torch.Generator().manual_seed(4)
    for schedule in SCHEDULES:
        for _ in range(3):
            t, z, xi = times(rng, 1)[0, 0], randn(rng, 4, 2), randn(rng, 4, 2)
            r = t * torch.rand((), generator=rng)
            a, b, a_r, b_r = schedule.a(t), schedule.b(t), schedule.a(r), schedule.b(r)
            fresh = (b_r - a_r / a * b) * (b_r + a_r / a * b)
            yield (z, a, b, a_r, b_r, xi), a_r / a * z + fresh.sqrt() * xi
            one, none = torch.ones_like(a), torch.zeros_like(a)
            yield (z, one, none, a_r, b_r, xi), a_r * z + b_r * xi
            yield (z, a, b, a, b, xi), z


@exercise(
    "07.5",
    hints=(
        "what must happen to two neighbors that stand in the wrong order?",
        "merge them into a block with their weighted mean; the one before may then be out of order",
        "keep a stack of blocks (mean, weight, length); merge while the last two are out of order",
    ),
)
def check_5():
    """Falling values stay, rising ones become their weighted mean; else the package's fit."""
    yield ([4.0, 3.0, 3.0, 1.0], [1.0, 2.0, 1.0, 1.0]), double(4.0, 3.0, 3.0, 1.0)
    yield ([1.0, 4.0], [3.0, 1.0]), double(1.75, 1.75)
    yield ([2.0], [5.0]), double(2.0)
    yield ([3.0, 1.0, 2.0, 9.0], [1.0, 1.0, 1.0, 1.0]), double(*[3.75] * 4)
    rng = torch.Generator().manual_seed(5)
    for n in (3, 8, 40):
        for slope in (-0.1, 0.0, 0.2):
            y = (randn(rng, n) + slope * torch.arange(n)).tolist()
            weight = (0.1 + rand(rng, n)).tolist()
            yield (y, weight), double(*isotonic_decreasing(np.array(y), np.array(weight)))


@exercise(
    "07.6",
    hints=(
        "in which bin does v fall?",
        "torch.searchsorted finds the bin on cdf; inside, F rises in a straight line",
        "inside of a bin the place is the fraction of its rise that v has covered; mind both ends",
    ),
)
def check_6():
    """The edges, the inside of a bin, and the uniform distribution, which changes nothing."""
    rng = torch.Generator().manual_seed(6)
    for bins in (1, 4, 30):
        probs = (0.2 + rand(rng, bins)) ** 2
        cdf = torch.cat((torch.zeros(1, dtype=torch.float64), (probs / probs.sum()).cumsum(0)))
        cdf[-1] = 1
        edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
        yield (cdf, cdf), edges
        part = rand(rng, 20)
        k = torch.randint(0, bins, (20,), generator=rng)
        yield (cdf[k] + part * (cdf[k + 1] - cdf[k]), cdf), (k + part) / bins
        v = rand(rng, 7)
        yield (v, edges), v
