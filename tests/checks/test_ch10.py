"""Answers to the exercises of chapter 10: wrong ones that its checks must refuse, right ones that they must accept."""

import numpy as np
import torch
from torch.distributions import Normal, kl_divergence

from minildm.checks import ch10

from .answers import Answers

answers = Answers(ch10)


def kl(mean, std):
    """(10.4)"""
    return (mean**2 + std**2 - 1) / 2 - std.log()


@answers.wrong(1)
def frees_nats_of_every_word(mean, std, free):
    return kl(mean, std).clamp(min=free).flatten(0, -2).mean(0).sum()


@answers.wrong(1)
def frees_nats_of_the_whole_code(mean, std, free):
    return kl(mean, std).flatten(0, -2).mean(0).sum().clamp(min=free * mean.shape[-1])


@answers.wrong(1)
def takes_free_nats_off(mean, std, free):
    return (kl(mean, std).flatten(0, -2).mean(0) - free).clamp(min=0).sum()


@answers.wrong(1)
def averages_over_channels(mean, std, free):
    return kl(mean, std).flatten(0, -2).mean(0).clamp(min=free).mean()


@answers.right(1)
def by_torch_distributions_in_single_precision(mean, std, free):
    nats = kl_divergence(Normal(mean.float(), std.float()), Normal(0.0, 1.0))
    return sum(max(float(channel.mean()), free) for channel in nats.unbind(-1))


@answers.right(1)
def in_numpy(mean, std, free):
    mean, std = mean.numpy(), std.numpy()
    nats = (mean**2 + std**2 - 1) / 2 - np.log(std)
    return np.maximum(nats.reshape(-1, nats.shape[-1]).mean(0), free).sum()


@answers.wrong(2)
def lets_gains_be_imaginary(power, noise, beta):
    return (beta * noise / power) ** 0.5, power - beta * noise


@answers.wrong(2)
def gives_the_gain_without_its_square(power, noise, beta):
    return min(1.0, (beta * noise / power) ** 0.5), max(0.0, power - beta * noise) ** 0.5


@answers.wrong(2)
def gives_the_squared_width(power, noise, beta):
    return min(1.0, beta * noise / power), max(0.0, power - beta * noise)


@answers.wrong(2)
def kills_no_channel(power, noise, beta):
    return (beta * noise / (power + beta * noise)) ** 0.5, power


@answers.wrong(2)
def swaps_the_two(power, noise, beta):
    return max(0.0, power - beta * noise), min(1.0, (beta * noise / power) ** 0.5)


@answers.right(2)
def as_one_tensor_in_single_precision(power, noise, beta):
    ratio = torch.tensor(beta * noise / power)
    return torch.stack((ratio.clamp(max=1).sqrt(), (power * (1 - ratio)).clamp(min=0)))


@answers.right(2)
def by_coordinate_descent(power, noise, beta):
    gain = 1.0
    for _ in range(5000):
        slope, width = (
            gain / (gain**2 + beta * noise),
            (beta * noise / (gain**2 + beta * noise)) ** 0.5,
        )
        gain = slope * power / (slope**2 * power + width**2)
    return [width, gain**2]


@answers.wrong(3)
def forgets_the_normalization(z, probs, means, variances):
    return (probs.log() - ((z[:, None] - means) ** 2 / (2 * variances)).sum(-1)).softmax(-1)


@answers.wrong(3)
def forgets_how_frequent_words_are(z, probs, means, variances):
    return (-((z[:, None] - means) ** 2 / variances + variances.log()).sum(-1) / 2).softmax(-1)


@answers.wrong(3)
def normalizes_densities_that_may_be_zero(z, probs, means, variances):
    density = Normal(means, variances.sqrt()).log_prob(z[:, None]).exp().prod(-1)
    return probs * density / (probs * density).sum(1, keepdim=True)


@answers.wrong(3)
def normalizes_over_the_batch(z, probs, means, variances):
    squares = ((z[:, None] - means) ** 2 / variances + variances.log()).sum(-1)
    return (probs.log() - squares / 2).softmax(0)


@answers.right(3)
def with_expanded_squares(z, probs, means, variances):
    squares = (
        z**2 @ (1 / variances).T
        - 2 * z @ (means / variances).T
        + (means**2 / variances + variances.log()).sum(-1)
    )
    joint = probs.log() - squares / 2
    return (joint - joint.logsumexp(1, keepdim=True)).exp()


@answers.right(3)
def code_by_code_in_single_precision(z, probs, means, variances):
    probs, means, stds = probs.float(), means.float(), variances.float().sqrt()
    return [
        (Normal(means, stds).log_prob(one).sum(-1) + probs.log()).softmax(-1) for one in z.float()
    ]


def posterior(z, probs, places, variances):
    """Probabilities of words (batch, k)."""
    squares = ((z[:, None] - places) ** 2 / variances + variances.log()).sum(-1)
    return (probs.log() - squares / 2).softmax(-1)


@answers.wrong(4)
def goes_to_the_mean_of_all_words(z, probs, means, variances, t):
    return probs @ (means + 0 * variances) + 0 * z


@answers.wrong(4)
def reads_as_if_at_the_end(z, probs, means, variances, t):
    rates = (t * variances - (1 - t)) / ((1 - t) ** 2 + t**2 * variances)
    r = posterior(z, probs, means, variances)
    return (r[..., None] * (means + rates * (z[:, None] - t * means))).sum(1)


@answers.wrong(4)
def takes_one_width_for_all_words(z, probs, means, variances, t):
    q = (1 - t) ** 2 + t**2 * variances
    r, rate = posterior(z, probs, t * means, q), (t * variances[0] - (1 - t)) / q[0]
    return rate * z + (1 - t) / q[0] * (r @ means)


@answers.wrong(4)
def forgets_the_way_inside_a_word(z, probs, means, variances, t):
    r = posterior(z, probs, t * means, (1 - t) ** 2 + t**2 * variances)
    return (r @ means - z) / (1 - t)


@answers.right(4)
def by_data_less_noise(z, probs, means, variances, t):
    q = (1 - t) ** 2 + t**2 * variances
    gap, r = z[:, None] - t * means, posterior(z, probs, t * means, q)
    data, noise = means + t * variances / q * gap, (1 - t) / q * gap
    return torch.einsum("bk,bkd->bd", r, data - noise)


@answers.right(4)
def from_the_prediction_in_single_precision(z, probs, means, variances, t):
    z, probs, means, variances = (x.float() for x in (z, probs, means, variances))
    q = (1 - t) ** 2 + t**2 * variances
    denoised = torch.einsum(
        "bk,bkd->bd",
        posterior(z, probs, t * means, q),
        means + t * variances / q * (z[:, None] - t * means),
    )
    return ((denoised - z) / (1 - t)).tolist()


def jacobian(delta, variances, t):
    """(10.16)"""
    q = (1 - t) ** 2 + t**2 * variances
    return torch.diag((t * variances - (1 - t)) / q) + t * (1 - t) / 4 * torch.outer(
        delta / q, delta / q
    )


@answers.wrong(5)
def forgets_the_contraction(delta, variances, t):
    return t * (1 - t) / 4 * (delta / ((1 - t) ** 2 + t**2 * variances)).square().sum()


@answers.wrong(5)
def adds_the_largest_of_both_parts(delta, variances, t):
    q = (1 - t) ** 2 + t**2 * variances
    return ((t * variances - (1 - t)) / q).max() + t * (1 - t) / 4 * (delta / q).square().sum()


@answers.wrong(5)
def gives_the_least_rate(delta, variances, t):
    return torch.linalg.eigvalsh(jacobian(delta, variances, t))[0]


@answers.wrong(5)
def gives_the_sum_of_rates(delta, variances, t):
    return jacobian(delta, variances, t).trace()


@answers.right(5)
def by_power_iteration(delta, variances, t):
    matrix, x = jacobian(delta, variances, t), torch.ones_like(delta)
    shift = matrix.norm() + 1
    for _ in range(4000):
        x = matrix @ x + shift * x
        x = x / x.norm()
    return float(x @ matrix @ x)


@answers.right(5)
def in_single_precision_of_numpy(delta, variances, t):
    return np.linalg.eigvalsh(jacobian(delta.float(), variances.float(), t).numpy()).max()


@answers.right(5)
def by_halving_the_secular_equation(delta, variances, t):
    q = (1 - t) ** 2 + t**2 * variances
    rates, coupling = (t * variances - (1 - t)) / q, t * (1 - t) / 4 * (delta / q) ** 2
    low, high = float(rates.max()), float(rates.max() + coupling.sum())
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if float((coupling / (middle - rates)).sum()) > 1 else (low, middle)
        )
    return high


test_answers = answers.test()
