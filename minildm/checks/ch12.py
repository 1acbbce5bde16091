"""Checks of chapter 12: warm-up, noisy decoder, straight-through, adaptive times, latent power."""

import math

import torch
from torch import Tensor

from ..models.recipe import gamma
from ..transport.schedules import Tangent
from ..transport.time_sampling import AdaptiveTime
from .draws import rand, randn
from .verdict import Must, exercise


@exercise(
    "12.1",
    hints=(
        "what should gamma be at the first step, and what at step W?",
        "subtract and divide, so that the logistic function becomes 0 at s = 0 and 1 at s = W",
        "with x between 0 and 1, g + (1 - g) x begins at g; after step W nothing changes",
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
            yield (step, warmup), gamma(step, warmup).item()
    yield (0, 0), 1.0


@exercise(
    "12.2",
    hints=(
        "which text could y have come from, and how probable is each of them given y?",
        "by Bayes' rule a text has the weight of y's density around its latent; they sum to one",
        "the exponent can be -10,000: use a softmax over the texts, and average the states with it",
    ),
)
def check_2():
    """Two points have a tanh as posterior mean; with little noise the nearest text wins."""
    rng = torch.Generator().manual_seed(2)
    for sigma in (0.3, 1.0, 3.0):
        z = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        y = randn(rng, 7, 1)
        yield (y, z, 5 * z, sigma), 5 * torch.tanh(y / sigma**2)
    for texts, channels, hidden in ((3, 2, 4), (10, 5, 1), (1, 3, 3)):
        z = 10 * randn(rng, texts, channels)
        h = randn(rng, texts, hidden)
        yield (z + 0.5, z, h, 0.01), h  # every density is below what a float64 can hold
        y = randn(rng, 4, channels)
        mass = torch.stack([torch.exp(-((y - point) ** 2).sum(-1) / 800) for point in z], dim=1)
        yield (y, z, h, 20.0), (mass @ h) / mass.sum(1, keepdim=True)


def close(one: Tensor, other: Tensor) -> bool:
    """Equal in single precision."""
    return torch.allclose(one.double(), other.double(), rtol=1e-5, atol=1e-6)


@exercise(
    "12.3",
    hints=(
        "how can a tensor have one value and the gradient of another?",
        "z.detach() has a value and no gradient; which expression has a gradient and the value 0?",
        "one part has the value and no gradient, the other is zero, with a gradient to scale",
    ),
)
def check_3():
    """The value is z_1 itself, and any gradient that comes back from it reaches z_1 times gamma."""
    rng = torch.Generator().manual_seed(3)
    for shape, scale in (((3,), 0.0), ((2, 4), 0.1), ((5, 1, 2), 0.5), ((4, 3), 1.0)):
        z1 = randn(rng, *shape).requires_grad_()
        back = randn(rng, *shape)

        def routed(got, z1=z1, scale=scale, back=back):
            if not isinstance(got, Tensor) or got.shape != z1.shape or not close(got, z1):
                return False
            if not got.requires_grad:
                return scale == 0.0
            (grad,) = torch.autograd.grad(got, z1, back.to(got.dtype), allow_unused=True)
            return close(torch.zeros_like(z1) if grad is None else grad, scale * back)

        yield (
            (z1, scale),
            Must(
                f"a tensor equal to z_1, whose gradient reaches z_1 times {scale}",
                routed,
            ),
        )


@exercise(
    "12.4",
    hints=(
        "where in time should much of the training be: where the loss is high, or where it falls?",
        "each bin has a fall on its left and on its right; at an end there is one of them",
        "mean of the falls, normalized, mixed with 1/N; F begins at 0 and adds bin after bin",
    ),
)
def check_4():
    """A line needs no warping; a curve of the linear-Gaussian model by the package."""
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
            yield (sampler.loss.clone(), floor), sampler.distribution()


@exercise(
    "12.5",
    hints=(
        "what does the sum do for small q, and what for large q: where can its minimum lie?",
        "set the derivative to zero; both of its terms are squares of positive numbers",
        "the square root is linear in q; a solution below zero puts the minimum at the edge",
    ),
)
def check_5():
    """The minimum of sigma^2 / (q + sigma^2) + gamma q / (1 + rho q), by bisection."""
    rng = torch.Generator().manual_seed(5)
    cases = [(0.5, 4.0, 1.0), (1.0, 2.25, 1.0)]  # the noise kills the channel
    while len(cases) < 14:
        sigma, scale, rho = rand(rng, 3).tolist()
        if math.sqrt(scale) > 1.2 * rho * sigma:
            cases.append((sigma, scale, rho))
    for sigma, scale, rho in cases:
        low, high = 0.0, 1e9
        for _ in range(200):
            q = (low + high) / 2
            rises = scale / (1 + rho * q) ** 2 > sigma**2 / (q + sigma**2) ** 2
            low, high = (low, q) if rises else (q, high)
        yield (sigma, scale, rho), low if low > 1e-12 else 0.0
