"""Checks of chapter 12: warm-up, noisy decoder, straight-through target, adaptive law, scale of a
latent.
"""

import math

import torch
from torch import Tensor

from ..models.recipe import gamma
from ..transport.schedules import Tangent
from ..transport.time_sampling import AdaptiveTime
from .verdict import Must, exercise


@exercise(
    "12.1",
    hints=(
        "what should the share be at the first step, and what at step W?",
        "subtract and divide, so that the logistic function becomes 0 at s = 0 and 1 at s = W",
        "with x between 0 and 1 in hand, g + (1 - g) x leaves room for g; after W steps the share stays what it is at W",
    ),
)
def check_1():
    """The published table, the two ends, and any step of any warm-up."""
    rng = torch.Generator().manual_seed(1)
    for warmup in (1, 10, 200, 50_000):
        yield (0, warmup), 0.001
        yield (warmup, warmup), 1.0
        yield (3 * warmup + 1, warmup), 1.0
        for _ in range(5):
            step = int(torch.randint(warmup + 1, (), generator=rng))
            yield (step, warmup), gamma(step, warmup)
    yield (0, 0), 1.0


@exercise(
    "12.2",
    hints=(
        "which text could y have come from, and how probable is each of them given y?",
        "by Bayes' rule a text counts by the Gaussian density of y around its latent; the weights sum to one",
        "what stands in the exponent can be -10,000: let a softmax over the texts take it, and average the states with that",
    ),
)
def check_2():
    """Two points have a tanh as posterior mean; far from all noise the nearest text wins; any
    shapes otherwise.
    """
    rng = torch.Generator().manual_seed(2)
    for sigma in (0.3, 1.0, 3.0):
        z = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        y = torch.randn(7, 1, generator=rng, dtype=torch.float64)
        yield (y, z, 5 * z, sigma), 5 * torch.tanh(y / sigma**2)
    for texts, channels, hidden in ((3, 2, 4), (10, 5, 1), (1, 3, 3)):
        z = 10 * torch.randn(texts, channels, generator=rng, dtype=torch.float64)
        h = torch.randn(texts, hidden, generator=rng, dtype=torch.float64)
        yield (z + 0.5, z, h, 0.01), h  # every density is below what a float64 can hold
        y = torch.randn(4, channels, generator=rng, dtype=torch.float64)
        mass = torch.stack([torch.exp(-((y - point) ** 2).sum(-1) / 800) for point in z], dim=1)
        yield (y, z, h, 20.0), (mass @ h) / mass.sum(1, keepdim=True)


def close(one: Tensor, other: Tensor) -> bool:
    """Equal in single precision."""
    return torch.allclose(one.double(), other.double(), rtol=1e-5, atol=1e-6)


@exercise(
    "12.3",
    hints=(
        "how can a tensor have one value and the gradient of another?",
        "z.detach() has the value of z and no gradient; which expression in z has a gradient and the value zero?",
        "one part carries the value and no gradient, the other is zero, and its gradient can be scaled",
    ),
)
def check_3():
    """The value is z_1 itself, and any gradient that comes back from it reaches z_1 times gamma."""
    rng = torch.Generator().manual_seed(3)
    for shape, share in (((3,), 0.0), ((2, 4), 0.1), ((5, 1, 2), 0.5), ((4, 3), 1.0)):
        z1 = torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_()
        back = torch.randn(shape, generator=rng, dtype=torch.float64)

        def routed(got, z1=z1, share=share, back=back):
            if not isinstance(got, Tensor) or got.shape != z1.shape or not close(got, z1):
                return False
            if not got.requires_grad:
                return share == 0.0
            (felt,) = torch.autograd.grad(got, z1, back.to(got.dtype), allow_unused=True)
            return close(torch.zeros_like(z1) if felt is None else felt, share * back)

        yield (
            (z1, share),
            Must(
                f"a tensor equal to z_1; what gradient comes back from it reaches z_1 times {share}",
                routed,
            ),
        )


@exercise(
    "12.4",
    hints=(
        "where in time should a bin get much of the training: where the loss is high, or where it falls?",
        "each bin looks at the fall on its left and on its right; at an end there is one of them",
        "density: mean of the falls, made to sum to one; then mixed with 1/N; F begins with 0 and adds one bin after another",
    ),
)
def check_4():
    """A line needs no warp; a curve of the linear-Gaussian model is warped like the package does
    it.
    """
    bins = 20
    yield (
        (torch.linspace(1, 0, bins, dtype=torch.float64), 0.0),
        torch.linspace(0, 1, bins + 1, dtype=torch.float64),
    )
    for d in (1.0, 3.0, 9.0):
        for floor in (0.0, 0.1, 0.5):
            sampler = AdaptiveTime(bins, floor=floor)
            t = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
            sampler.loss, sampler.weight = (
                Tangent(d).b(t) ** 2,
                torch.ones(bins, dtype=torch.float64),
            )
            yield (sampler.loss.clone(), floor), sampler.law()


@exercise(
    "12.5",
    hints=(
        "what does the sum do for small q, and what for large q: where can its minimum lie?",
        "set the derivative to zero; both of its terms are squares, and everything in them is positive",
        "after the square root the equation is linear in q; a solution below zero means that the minimum is at the edge",
    ),
)
def check_5():
    """The minimum of sigma^2 / (q + sigma^2) + gamma q / (1 + rho q), found by halving on the sign
    of its derivative.
    """
    rng = torch.Generator().manual_seed(5)
    cases = [(0.5, 4.0, 1.0), (1.0, 2.25, 1.0)]  # the noise kills the channel
    while len(cases) < 14:
        sigma, pull, rho = torch.rand(3, generator=rng, dtype=torch.float64).tolist()
        if math.sqrt(pull) > 1.2 * rho * sigma:
            cases.append((sigma, pull, rho))
    for sigma, pull, rho in cases:
        low, high = 0.0, 1e9
        for _ in range(200):
            q = (low + high) / 2
            rises = pull / (1 + rho * q) ** 2 > sigma**2 / (q + sigma**2) ** 2
            low, high = (low, q) if rises else (q, high)
        yield (sigma, pull, rho), low if low > 1e-12 else 0.0
