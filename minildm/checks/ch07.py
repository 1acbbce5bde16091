"""Checks of chapter 07: a clock inverted, heads converted, one step of forgetting, pooling, and
draws from a law of time.
"""

import numpy as np
import torch

from ..control.bridges import Mixture
from ..transport.heads import convert
from ..transport.mixtures import mixture_score, posterior
from ..transport.paths import sample_path
from ..transport.schedules import Cosine, Linear, Tangent
from ..transport.time_sampling import isotonic_decreasing
from .verdict import exercise

KINDS = (Linear(), Cosine(), Tangent(3.0), Tangent(9.0))


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def times(rng: torch.Generator, count: int) -> torch.Tensor:
    """Times away from both ends, (count, 1)."""
    return 0.05 + 0.9 * torch.rand(count, 1, generator=rng, dtype=torch.float64)


@exercise(
    "07.1",
    hints=(
        "which function of t is the ratio a/b of tan-d?",
        "the log-SNR is twice the logarithm of that ratio",
        "undo the steps one by one: the logarithm, the factor d, the tangent, the factor pi/2",
    ),
)
def check_1():
    """There and back by the package's schedule, for any shape; both ends."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((5,), (2, 3), ()):
        for d in (1.0, 3.0, 0.4):
            log_snr = 5 * randn(rng, *shape)
            yield (log_snr, d), Tangent(d).from_log_snr(log_snr)
    yield (
        (torch.tensor([-torch.inf, torch.inf], dtype=torch.float64), 3.0),
        torch.tensor([0.0, 1.0], dtype=torch.float64),
    )


@exercise(
    "07.2",
    hints=(
        "what does the score say of the noise in z?",
        "(07.7) gives the posterior mean of the noise; the state is a mixture of the two posterior means",
        "solve z = a z_1 + b z_0 for the data, with the noise replaced",
    ),
    tolerance=1e-4,
)
def check_2():
    """The posterior mean of mixtures from their scores, on several paths; the division by a small a
    magnifies rounding.
    """
    rng = torch.Generator().manual_seed(2)
    for kind in KINDS:
        for d in (1, 3):
            law = Mixture(
                randn(rng, 4).log_softmax(0),
                2 * randn(rng, 4, d),
                torch.full((4,), 0.2, dtype=torch.float64),
            )
            z, t = 2 * randn(rng, 6, d), times(rng, 1)[0, 0]
            yield (
                (z, mixture_score(kind, law)(z, t), kind.a(t), kind.b(t)),
                posterior(kind, law, z, t)[0],
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
    for kind in KINDS:
        t = times(rng, 5)
        sample = sample_path(kind, randn(rng, 5, 3), randn(rng, 5, 3), t[:, 0])
        for noise in (sample.z0, randn(rng, 5, 3)):
            wanted = convert(kind, sample.zt, noise, t[:, 0], "noise", "velocity")
            yield (sample.zt, noise, kind.a(t), kind.b(t), kind.da(t), kind.db(t)), wanted


@exercise(
    "07.4",
    hints=(
        "by which factor must z shrink so that the data in it have the amount a_r?",
        "variances add: the noise that z already holds shrinks as well, and the rest must be fresh",
        "the fresh noise has the variance that is missing from b_r^2; xi is multiplied by a standard deviation",
    ),
)
def check_4():
    """Mean and spread; from the data itself it is the path; a step of no length moves nothing."""
    rng = torch.Generator().manual_seed(4)
    for kind in KINDS:
        for _ in range(3):
            t, z, xi = times(rng, 1)[0, 0], randn(rng, 4, 2), randn(rng, 4, 2)
            r = t * torch.rand((), generator=rng)
            a, b, a_r, b_r = kind.a(t), kind.b(t), kind.a(r), kind.b(r)
            fresh = (b_r - a_r / a * b) * (b_r + a_r / a * b)
            yield (z, a, b, a_r, b_r, xi), a_r / a * z + fresh.sqrt() * xi
            one, none = torch.ones_like(a), torch.zeros_like(a)
            yield (z, one, none, a_r, b_r, xi), a_r * z + b_r * xi
            yield (z, a, b, a, b, xi), z


@exercise(
    "07.5",
    hints=(
        "what must happen to two neighbors that stand in the wrong order?",
        "merge them into one block with their weighted mean; this may put it in the wrong order with the block before",
        "keep a stack of blocks with mean, weight and length; go on merging while the last two are in the wrong order",
    ),
)
def check_5():
    """What falls stays; what rises becomes its weighted mean; else the package's fit."""

    def answer(numbers):
        return torch.tensor(numbers, dtype=torch.float64)

    yield ([4.0, 3.0, 3.0, 1.0], [1.0, 2.0, 1.0, 1.0]), answer([4.0, 3.0, 3.0, 1.0])
    yield ([1.0, 4.0], [3.0, 1.0]), answer([1.75, 1.75])
    yield ([2.0], [5.0]), answer([2.0])
    yield ([3.0, 1.0, 2.0, 9.0], [1.0, 1.0, 1.0, 1.0]), answer([3.75] * 4)
    rng = torch.Generator().manual_seed(5)
    for n in (3, 8, 40):
        for tilt in (-0.1, 0.0, 0.2):
            y = (randn(rng, n) + tilt * torch.arange(n)).tolist()
            weight = (0.1 + torch.rand(n, generator=rng, dtype=torch.float64)).tolist()
            yield (y, weight), answer(isotonic_decreasing(np.array(y), np.array(weight)).tolist())


@exercise(
    "07.6",
    hints=(
        "in which bin does v fall?",
        "torch.searchsorted finds the bin on cdf; inside, F rises in a straight line",
        "the place inside of the bin is the fraction of its rise that v has covered; mind v = 0 and v = 1",
    ),
)
def check_6():
    """The edges are met; inside a bin it is linear; uniform laws change nothing."""
    rng = torch.Generator().manual_seed(6)
    for bins in (1, 4, 30):
        share = (0.2 + torch.rand(bins, generator=rng, dtype=torch.float64)) ** 2
        cdf = torch.cat((torch.zeros(1, dtype=torch.float64), (share / share.sum()).cumsum(0)))
        cdf[-1] = 1
        edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
        yield (cdf, cdf), edges
        part, k = (
            torch.rand(20, generator=rng, dtype=torch.float64),
            torch.randint(0, bins, (20,), generator=rng),
        )
        yield (cdf[k] + part * (cdf[k + 1] - cdf[k]), cdf), (k + part) / bins
        v = torch.rand(7, generator=rng, dtype=torch.float64)
        yield (v, edges), v
