"""Checks of chapter 10: KL with free bits, linear autoencoders, decoding, a field, a border."""

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from .draws import double, rand, randn
from .verdict import Must, as_numbers, exercise


def some_tokens(rng: torch.Generator, count: int, d: int) -> tuple[Tensor, Tensor, Tensor]:
    """Prior, means and variances of some tokens."""
    return randn(rng, count).softmax(0), 2 * randn(rng, count, d), randn(rng, count, d).exp() / 4


@exercise(
    "10.1",
    hints=(
        "who is given the free nats: a token, a channel, or the whole code?",
        "(10.4) is a number for each token and channel; what is (10.6) a sum of?",
        "three operations in order: over tokens, for each channel alone, over channels",
    ),
)
def check_1():
    """The KL of torch's own Gaussians, mean over tokens, clamped by channel; dead channels."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((4, 3), (2, 5, 6)):
        for free in (0.0, 0.1, 2.0):
            mean, std = randn(rng, *shape), (randn(rng, *shape) / 2).exp()
            alive = torch.arange(shape[-1]) > 0
            for m, s in ((mean, std), (mean * alive, std.where(alive, 1.0))):
                channels = kl_divergence(Normal(m, s), Normal(0.0, 1.0)).flatten(0, -2).mean(0)
                yield (m, s, free), channels.clamp(min=free).sum()
            yield (0 * mean, std / std, free), torch.tensor(free * shape[-1], dtype=torch.float64)


def linear_loss(power: float, noise: float, beta: float, std: Tensor, gain: Tensor) -> Tensor:
    """The loss (10.10) for a decoder z -> gain z, with the encoder's slope that suits it best."""
    slope = gain / (gain**2 + beta * noise)
    fit = (power * (1 - gain * slope) ** 2 + gain**2 * std**2) / (2 * noise)
    return fit + beta * ((slope**2 * power + std**2 - 1) / 2 - std.log())


@exercise(
    "10.2",
    hints=(
        "which values may a squared gain take, and is the least loss at their edge?",
        "insert the best slope and standard deviation into (10.10): a function of g^2 is left",
        "its derivative may vanish where g^2 is negative: what are deviation and gain then?",
    ),
)
def check_2():
    """No other standard deviation and gain have a smaller loss; dead above the threshold."""
    rng = torch.Generator().manual_seed(2)
    axis = torch.linspace(0.01, 1.5, 300, dtype=torch.float64)
    for _ in range(8):
        power, noise = (0.2 + rand(rng, 2)).tolist()
        beta = power / noise * (0.1 + 0.7 * float(torch.rand((), generator=rng)))
        least = float(linear_loss(power, noise, beta, axis[:, None], axis - 0.01).min())

        def met(answer, power=power, noise=noise, beta=beta, least=least) -> bool:
            numbers = as_numbers(answer)
            if numbers is None or numbers.numel() != 2:
                return False
            std, squared = numbers.double().flatten()
            loss = linear_loss(power, noise, beta, std, squared.sqrt())
            return bool(std > 0) and float(loss) <= least + 1e-9

        yield (
            (power, noise, beta),
            Must("two numbers, standard deviation and squared gain, of least loss (10.10)", met),
        )
        yield (power, noise, 1.5 * power / noise), double(1.0, 0.0)


@exercise(
    "10.3",
    hints=(
        "Bayes' rule has a prior and a likelihood: what are they for a token and a code?",
        "the likelihood is a product of Gaussian densities, each with its own normalization",
        "far from all tokens every density is zero for the computer: use logarithms and a softmax",
    ),
)
def check_3():
    """Bayes' rule with torch's own Gaussians; equal means; a code far from all tokens."""
    rng = torch.Generator().manual_seed(3)
    for count, d in ((2, 1), (5, 3), (20, 8)):
        prior, means, variances = some_tokens(rng, count, d)
        for places, far in ((means, 1.0), (torch.zeros_like(means), 1.0), (means, 100.0)):
            z = far * randn(rng, 6, d)
            joint = Normal(places, variances.sqrt()).log_prob(z[:, None]).sum(-1) + prior.log()
            yield (z, prior, places, variances), joint.softmax(-1)
    yield (100 * means, prior, 100 * means, variances), torch.eye(count, dtype=torch.float64)


@exercise(
    "10.4",
    hints=(
        "given the token, which Gaussian is z_t, and how likely is each token given z?",
        "use the decoder of 10.3 with the means and variances that the tokens have at time t",
        "given the token, the conditional mean of the data is linear in z; (10.15) averages it",
    ),
)
def check_4():
    """The field from the score of z_t by autograd: (z + (1 - t) score) / t."""
    rng = torch.Generator().manual_seed(4)
    for count, d in ((1, 2), (4, 1), (6, 5)):
        prior, means, variances = some_tokens(rng, count, d)
        for t in (0.1, 0.5, 0.9):
            z, std = randn(rng, 7, d), ((1 - t) ** 2 + t**2 * variances).sqrt()

            def log_density(z, means=means, prior=prior, std=std, t=t):
                return (Normal(t * means, std).log_prob(z).sum(-1) + prior.log()).logsumexp(-1)

            score = torch.stack([torch.func.grad(log_density)(row) for row in z])
            yield (z, prior, means, variances, t), (z + (1 - t) * score) / t


@exercise(
    "10.5",
    hints=(
        "what is the covariance of two equally likely means at a point halfway between them?",
        "put this covariance, a multiple of delta delta', into (10.16); each channel has its own q",
        "the matrix is symmetric: its eigenvalues come from one call, and you need the largest",
    ),
)
def check_5():
    """The top eigenvalue of the Jacobian by autograd, halfway between two tokens."""
    rng = torch.Generator().manual_seed(5)
    for d in (1, 2, 6):
        _, (delta, *_), (variances, *_) = some_tokens(rng, 3, d)
        for t in (0.2, 0.6, 0.95):
            q = (1 - t) ** 2 + t**2 * variances
            rates = (t * variances - (1 - t)) / q

            def u(z, delta=delta, q=q, rates=rates, t=t):
                means = torch.stack((-delta / 2, delta / 2))
                r = (-((z - t * means) ** 2 / (2 * q)).sum(-1)).softmax(0)
                return rates * z + (1 - t * rates) * (r @ means)

            jacobian = torch.func.jacrev(u)(torch.zeros(d, dtype=torch.float64))
            yield (delta, variances, t), torch.linalg.eigvalsh(jacobian)[-1]
