"""Gradient absence: estimates of a gradient with and without derivatives of the cost.

The cost of a choice of tokens can only be scored (REINFORCE); a latent can be perturbed (pathwise).
Both estimates are drawn here, one row a draw, and their variances are compared at equal numbers of
network evaluations, where a backward pass counts as two forward ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..dynamics.precision import double, uniform
from ..models.base import gumbel_noise
from ..sampling.relaxed import Choice, hard

Cost = Callable[[Tensor], Tensor]  # (draws, ...) -> (draws,), each row by itself


@dataclass
class Estimates:
    """Single-draw estimates of one gradient, and network evaluations that each takes."""

    draws: Float[Tensor, "draws parameters"]
    nfe: int

    @property
    def mean(self) -> Float[Tensor, " parameters"]:
        return self.draws.mean(0)


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds between which it lies at some level of confidence."""

    value: float
    low: float
    high: float


def centered(costs: Float[Tensor, " draws"]) -> Float[Tensor, " draws"]:
    """Each cost less the mean of the others, a baseline that leaves REINFORCE without bias."""
    return (costs - costs.mean()) * len(costs) / (len(costs) - 1)


def gaussian(
    mean: Float[Tensor, "..."], std: float, count: int, rng: torch.Generator
) -> Float[Tensor, "draws ..."]:
    """Draws of mean + std xi."""
    shape = count, *mean.shape
    xi = torch.randn(shape, generator=rng, dtype=mean.dtype, device=mean.device)
    return mean + std * xi


def reinforce(
    cost: Cost, mean: Float[Tensor, "..."], std: float, count: int, rng: torch.Generator
) -> Estimates:
    """The score-function estimate of d/dm E cost(m + s xi), which needs only values of the cost.

    (cost(z) - baseline) (z - m) / s^2,  baseline the mean cost of the other draws

    Args:
        cost: Of points (draws, ...).
        mean: The point m, of any shape.
        std: The standard deviation s, above 0.
        count: Number of draws, 2 or more.
        rng: Generator of the random numbers.

    Returns:
        Estimates of one network evaluation each.

    Derived in chapter 09. Source: Williams 1992.
    """
    z = gaussian(mean, std, count, rng)
    with torch.no_grad():
        costs = centered(cost(z))
    return Estimates(costs[:, None] * ((z - mean) / std**2).flatten(1), 1)


def pathwise(
    cost: Cost, mean: Float[Tensor, "..."], std: float, count: int, rng: torch.Generator
) -> Estimates:
    """The pathwise estimate of d/dm E cost(m + s xi): the gradient of the cost at the draw.

    grad cost(m + s xi)

    Args:
        cost: Of points (draws, ...), differentiable.
        mean: The point m, of any shape.
        std: The standard deviation s.
        count: Number of draws.
        rng: Generator of the random numbers.

    Returns:
        Estimates of three network evaluations each, with the backward pass.
    """
    z = gaussian(mean, std, count, rng).requires_grad_()
    (slopes,) = torch.autograd.grad(cost(z).sum(), z)
    return Estimates(slopes.flatten(1), 3)


def gumbel_scores(
    logits: Float[Tensor, "n vocab_size"], count: int, rng: torch.Generator
) -> Tensor:
    """Logits with Gumbel noise, whose highest is a draw of their softmax."""
    return logits + gumbel_noise(uniform(count, *logits.shape, rng=rng)).to(logits)


def reinforce_words(
    cost: Cost, logits: Float[Tensor, "n vocab_size"], count: int, rng: torch.Generator
) -> Estimates:
    """The score-function estimate of d/dlogits E cost(w) for independent w_i ~ softmax(logits_i).

    (cost(w) - baseline) (e_w - softmax(logits))

    Args:
        cost: Of one-hot tokens (draws, n, vocab_size).
        logits: Of each position (n, vocab_size).
        count: Number of draws, 2 or more.
        rng: Generator of the random numbers.

    Returns:
        Estimates of one network evaluation each.

    Derived in chapter 09. Source: Williams 1992.
    """
    words = hard(gumbel_scores(logits, count, rng))
    costs = centered(cost(words))
    return Estimates((costs[:, None, None] * (words - logits.softmax(-1))).flatten(1), 1)


def relaxed_words(
    cost: Cost,
    logits: Float[Tensor, "n vocab_size"],
    count: int,
    rng: torch.Generator,
    choice: Choice,
) -> Estimates:
    """The gradient of cost(choice(logits + gumbel)), biased for soft choices and 0 for hard ones.

    Args:
        cost: Of points of the simplex (draws, n, vocab_size), differentiable.
        logits: Of each position (n, vocab_size).
        count: Number of draws.
        rng: Generator of the random numbers.
        choice: `hard`, `soft` or `straight_through`.

    Returns:
        Estimates of three network evaluations each.

    Derived in chapter 09. Source: Gumbel-softmax 1611.01144.
    """
    scores = gumbel_scores(logits, count, rng).requires_grad_()
    total = cost(choice(scores)).sum() + 0 * scores.sum()
    return Estimates(torch.autograd.grad(total, scores)[0].flatten(1), 3)


def exact_words(cost: Cost, logits: Float[Tensor, "n vocab_size"]) -> Float[Tensor, "n vocab_size"]:
    """The gradient that both estimate, by trying all vocab_size^n sequences.

    d/dlogits sum over w of p(w) cost(w)

    Args:
        cost: Of one-hot tokens (draws, n, vocab_size).
        logits: Of each position (n, vocab_size).

    Returns:
        The gradient.

    Derived in chapter 09.
    """
    n, size = logits.shape
    logits = logits.detach().requires_grad_()
    every = torch.tensor(list(product(range(size), repeat=n)), device=logits.device)
    words = F.one_hot(every, size).to(logits.dtype)
    probs = (words * logits.log_softmax(-1)).sum((1, 2)).exp()
    return torch.autograd.grad((probs * cost(words).detach()).sum(), logits)[0]


def total_variance(estimates: Estimates) -> float:
    """The variance of a single draw, the trace of its covariance: E |g - E g|^2.

    Args:
        estimates: The draws g.

    Returns:
        The variance.
    """
    return double(estimates.draws).var(0).sum().item()


def variance_ratio(
    a: Estimates, b: Estimates, rng: torch.Generator, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """How many times the network evaluations of b estimate a needs for the same precision.

    (variance_a nfe_a) / (variance_b nfe_b), with a bootstrap interval

    Args:
        a: Estimates that are compared.
        b: Estimates to which they are compared.
        rng: Generator of the random numbers.
        resamples: Number of bootstrap samples of each.
        level: Confidence of the interval.

    Returns:
        The ratio with its bounds.

    Derived in chapter 09. Source: Efron 1979.
    """

    def resampled(estimates: Estimates) -> Float[Tensor, " resamples"]:
        x = double(estimates.draws - estimates.mean)
        count = len(x)
        picked = torch.randint(count, (resamples, count), generator=rng)
        ones = x.new_ones(resamples, count)
        weights = torch.zeros_like(ones).scatter_add_(1, picked, ones)
        mean = weights @ x / count
        return (weights @ x.square().sum(1) / count - mean.square().sum(1)) * count / (count - 1)

    tail = (1 - level) / 2
    ratios = resampled(a) * a.nfe / (resampled(b) * b.nfe)
    low, high = ratios.quantile(torch.tensor([tail, 1 - tail], dtype=ratios.dtype)).tolist()
    return Interval(total_variance(a) * a.nfe / (total_variance(b) * b.nfe), low, high)
