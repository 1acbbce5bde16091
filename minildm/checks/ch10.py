"""Checks of chapter 10: KL with free bits, the linear autoencoder, a reader of latents, a word's field, a border."""

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from .verdict import Must, exercise


def randn(rng: torch.Generator, *shape: int) -> Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def some_words(rng: torch.Generator, count: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Shares, means and variances of some words."""
    return randn(rng, count).softmax(0), 2 * randn(rng, count, d), randn(rng, count, d).exp() / 4


@exercise("10.1", hints=("first the mean over words, then the floor of each channel, then the sum over channels",))
def check_1():
    """The KL of torch's own Gaussians, mean over words, clamped channel by channel; a dead channel pays its free bits."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((4, 3), (2, 5, 6)):
        for free in (0.0, 0.1, 2.0):
            mean, std = randn(rng, *shape), (randn(rng, *shape) / 2).exp()
            channels = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).flatten(0, -2).mean(0)
            yield (mean, std, free), channels.clamp(min=free).sum()
            yield (0 * mean, std / std, free), torch.tensor(free * shape[-1], dtype=torch.float64)


def linear_loss(power: float, noise: float, beta: float, width: Tensor, gain: Tensor) -> Tensor:
    """The loss (10.10) for a decoder z -> gain z, with the encoder's slope that suits it best."""
    slope = gain / (gain**2 + beta * noise)
    fit = (power * (1 - gain * slope) ** 2 + gain**2 * width**2) / (2 * noise)
    return fit + beta * ((slope**2 * power + width**2 - 1) / 2 - width.log())


@exercise("10.2", hints=("compare beta times the noise with the power: below, the channel lives; above, the code is the prior",))
def check_2():
    """No other width and gain have a smaller loss, on a fine grid; above the threshold the channel is dead."""
    rng = torch.Generator().manual_seed(2)
    axis = torch.linspace(0.01, 1.5, 300, dtype=torch.float64)
    for _ in range(8):
        power, noise = (0.2 + torch.rand(2, generator=rng, dtype=torch.float64)).tolist()
        beta = power / noise * (0.1 + 0.7 * float(torch.rand((), generator=rng)))
        least = float(linear_loss(power, noise, beta, axis[:, None], axis - 0.01).min())

        def met(answer, power=power, noise=noise, beta=beta, least=least) -> bool:
            width, squared = (torch.as_tensor(float(x), dtype=torch.float64) for x in answer)
            here = float(linear_loss(power, noise, beta, width, squared.sqrt()))
            return bool(width > 0) and here <= least + 1e-9 and here >= least - 1e-2
        yield (power, noise, beta), Must("width and squared gain with the least loss (10.10)", met)
        yield (power, noise, 1.5 * power / noise), (1.0, 0.0)


@exercise("10.3", hints=("log share plus the log densities of all channels, normalization included, then a softmax over words",))
def check_3():
    """Bayes' rule with torch's own Gaussians; equal means are told apart by their widths; far codes are sure."""
    rng = torch.Generator().manual_seed(3)
    for count, d in ((2, 1), (5, 3), (20, 8)):
        share, means, variances = some_words(rng, count, d)
        for places in (means, torch.zeros_like(means)):
            z = randn(rng, 6, d)
            joint = Normal(places, variances.sqrt()).log_prob(z[:, None]).sum(-1) + share.log()
            yield (z, share, places, variances), joint.softmax(-1)
    yield (100 * means, share, 100 * means, variances), torch.eye(count, dtype=torch.float64)


@exercise("10.4", hints=("the reader of 10.3 with means t m and variances (1-t)^2 + t^2 v; each word adds m + l (z - t m)",))
def check_4():
    """z plus (1 - t) times the score of the law of z_t, by autograd, over t; the score is the other way to the same field."""
    rng = torch.Generator().manual_seed(4)
    for count, d in ((1, 2), (4, 1), (6, 5)):
        share, means, variances = some_words(rng, count, d)
        for t in (0.1, 0.5, 0.9):
            z, std = randn(rng, 7, d), ((1 - t) ** 2 + t**2 * variances).sqrt()

            def log_density(z, means=means, share=share, std=std, t=t):
                return (Normal(t * means, std).log_prob(z).sum(-1) + share.log()).logsumexp(-1)

            score = torch.stack([torch.func.grad(log_density)(row) for row in z])
            yield (z, share, means, variances, t), (z + (1 - t) * score) / t


@exercise("10.5", hints=("a diagonal matrix plus one outer product, t(1-t)/4 of Delta/q with itself; ask eigvalsh for the last",))
def check_5():
    """The top eigenvalue of the Jacobian by autograd, halfway between two words of one width a channel."""
    rng = torch.Generator().manual_seed(5)
    for d in (1, 2, 6):
        _, (delta, *_), (variances, *_) = some_words(rng, 3, d)
        for t in (0.2, 0.6, 0.95):
            q = (1 - t) ** 2 + t**2 * variances
            rates = (t * variances - (1 - t)) / q

            def u(z, delta=delta, q=q, rates=rates, t=t):
                means = torch.stack((-delta / 2, delta / 2))
                r = (-((z - t * means) ** 2 / (2 * q)).sum(-1)).softmax(0)
                return rates * z + (1 - t * rates) * (r @ means)

            jacobian = torch.func.jacrev(u)(torch.zeros(d, dtype=torch.float64))
            yield (delta, variances, t), torch.linalg.eigvalsh(jacobian)[-1]
