"""Gradient absence: what a gradient must be estimated by where the cost has none, and how much more
that estimate scatters.

A choice of words can only be scored (REINFORCE); a latent can be nudged (pathwise). Both are drawn
here, one row a draw, and their scatter is compared at equal calls of the network, a backward pass
being worth two forward ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..dynamics.precision import double, uniform
from ..dynamics.records import Trajectory
from ..dynamics.solvers import integrate
from .ch09_adjoint_profiles import Wish
from ..evaluation.chains import Chain, Choice, hard

Cost = Callable[[Tensor], Tensor]  # (draws, ...) -> (draws,), each row by itself


@dataclass
class Estimates:
    """Single-draw estimates of one gradient, and what each cost in forward passes."""

    draws: Float[Tensor, "draws parameters"]
    calls: int

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
    """Each cost less the mean of the others, which leaves REINFORCE without bias and takes most of
    its scatter.
    """
    return (costs - costs.mean()) * len(costs) / (len(costs) - 1)


def gaussian(
    mean: Float[Tensor, "..."], std: float, count: int, rng: torch.Generator
) -> Float[Tensor, "draws ..."]:
    """Draws of mean + std xi."""
    return mean + std * torch.randn(
        count, *mean.shape, generator=rng, dtype=mean.dtype, device=mean.device
    )


def reinforce(
    cost: Cost, mean: Float[Tensor, "..."], std: float, count: int, rng: torch.Generator
) -> Estimates:
    """The score-function estimate of d/dm E cost(m + s xi), which only needs values of the cost.

    (cost(z) - baseline) (z - m) / s^2, baseline the mean cost of the other draws
    Args: `cost`; `mean` m of any shape; `std` s > 0; `count` of draws, 2 or more; `rng`. Returns `Estimates`, 1 call each.
    Derived in chapter 09. Source: Williams 1992.
    """
    z = gaussian(mean, std, count, rng)
    with torch.no_grad():
        costs = centered(cost(z))
    return Estimates(costs[:, None] * ((z - mean) / std**2).flatten(1), 1)


def pathwise(
    cost: Cost, mean: Float[Tensor, "..."], std: float, count: int, rng: torch.Generator
) -> Estimates:
    """The pathwise estimate of d/dm E cost(m + s xi), the gradient of the cost at the draw.

    grad cost(m + s xi)

    Args:
        cost: Differentiable; the rest as for `reinforce`.

    Returns:
        `Estimates`, 3 calls each, with the backward pass.
    """
    z = gaussian(mean, std, count, rng).requires_grad_()
    (slopes,) = torch.autograd.grad(cost(z).sum(), z)
    return Estimates(slopes.flatten(1), 3)


def gumbel_scores(
    logits: Float[Tensor, "n vocabulary"], count: int, rng: torch.Generator
) -> Tensor:
    """Logits with Gumbel noise, whose highest is a draw of their softmax."""
    u = uniform(count, *logits.shape, rng=rng)
    return logits - (-u.log()).log().to(logits)


def reinforce_words(
    cost: Cost, logits: Float[Tensor, "n vocabulary"], count: int, rng: torch.Generator
) -> Estimates:
    """The score-function estimate of d/dlogits E cost(words), words drawn independently from softmax(logits).

    (cost(w) - baseline) (e_w - softmax(logits))
    Args: `cost` of one-hot words (draws, n, vocabulary); `logits`; `count` of draws, 2 or more; `rng`.
    Returns `Estimates`, 1 call each. Derived in chapter 09. Source: Williams 1992.
    """
    words = hard(gumbel_scores(logits, count, rng))
    costs = centered(cost(words))
    return Estimates((costs[:, None, None] * (words - logits.softmax(-1))).flatten(1), 1)


def relaxed_words(
    cost: Cost,
    logits: Float[Tensor, "n vocabulary"],
    count: int,
    rng: torch.Generator,
    choice: Choice,
) -> Estimates:
    """The gradient of cost(choice(logits + gumbel)): biased through `soft` and `straight_through`, 0 through `hard`.

    Args: `cost` of points of the simplex (draws, n, vocabulary), differentiable; `logits`; `count`; `rng`; `choice`.
    Returns `Estimates`, 3 calls each. Derived in chapter 09. Source: Gumbel-softmax 1611.01144.
    """
    scores = gumbel_scores(logits, count, rng).requires_grad_()
    total = cost(choice(scores)).sum() + 0 * scores.sum()
    return Estimates(torch.autograd.grad(total, scores)[0].flatten(1), 3)


def exact_words(cost: Cost, logits: Float[Tensor, "n vocabulary"]) -> Float[Tensor, "n vocabulary"]:
    """The gradient that both estimate, d/dlogits sum over all sequences of p(w) cost(w), by trying all sequences.

    Args: `cost`; `logits` (n, vocabulary), of which there are vocabulary^n sequences. Returns the gradient.
    Derived in chapter 09. Source: textbook.
    """
    n, size = logits.shape
    logits = logits.detach().requires_grad_()
    every = torch.tensor(list(product(range(size), repeat=n)), device=logits.device)
    words = F.one_hot(every, size).to(logits.dtype)
    chances = (words * logits.log_softmax(-1)).sum((1, 2)).exp()
    return torch.autograd.grad((chances * cost(words).detach()).sum(), logits)[0]


def nudge_cost(chain: Chain, path: Trajectory, k: int, phi: Wish) -> Cost:
    """The cost of the end as a function of the latents at a time: nudge z_k, and let the sampler go
    on.

    nudged z_k (draws, n, moving) -> Phi(scores of z_S)

    Args:
        chain: Of latents.
        path: That it ran.
        k: An index of its times.
        phi: . The text is the first of the batch.

    Returns:
        A cost for `reinforce` and `pathwise`, whose mean is path.states[k][0, :, :moving].

    Derived in chapter 09.
    """
    memory = path.states[k][:1, :, chain.moving :]

    def cost(z: Tensor) -> Tensor:
        state = torch.cat((z, memory.expand(len(z), -1, -1)), dim=-1)
        return phi(
            chain.scores(
                integrate(chain.field, state, chain.times[k:], chain.step, record=False).states[-1]
            )
        )

    return cost


def spread(estimates: Estimates) -> float:
    """The scatter of one draw about its mean, the trace of its covariance.

    E |g - E g|^2
    Args: `estimates`. Returns the total variance. Derived in chapter 09. Source: textbook.
    """
    return double(estimates.draws).var(0).sum().item()


def variance_ratio(
    a: Estimates, b: Estimates, rng: torch.Generator, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """How many times the calls one estimate needs for the precision of another, with a bootstrap interval.

    (spread_a calls_a) / (spread_b calls_b)
    Args: `a`, `b`; `rng`; `resamples` of the draws of each; `level` of the interval. Returns an `Interval`.
    Derived in chapter 09. Source: Efron 1979.
    """

    def resampled(estimates: Estimates) -> Float[Tensor, " resamples"]:
        x = double(estimates.draws - estimates.mean)
        count = len(x)
        picked = torch.randint(count, (resamples, count), generator=rng)
        weights = x.new_zeros(resamples, count).scatter_add_(
            1, picked, x.new_ones(resamples, count)
        )
        mean = weights @ x / count
        return (weights @ x.square().sum(1) / count - mean.square().sum(1)) * count / (count - 1)

    tail = (1 - level) / 2
    ratios = resampled(a) * a.calls / (resampled(b) * b.calls)
    low, high = ratios.quantile(torch.tensor([tail, 1 - tail], dtype=ratios.dtype)).tolist()
    return Interval(spread(a) * a.calls / (spread(b) * b.calls), low, high)
