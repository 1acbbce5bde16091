"""Answers to the exercises of chapter 04: wrong ones that its checks must refuse, right ones that they must accept."""

import math

import torch

from minildm.checks import ch04
from minildm.control.sinkhorn import gaussian_covariance

from .answers import Answers

answers = Answers(ch04)


@answers.wrong(1)
def forgets_the_root(z, u, h, g, xi):
    return z + h * u + g * h * xi


@answers.wrong(1)
def scales_everything_with_the_root(z, u, h, g, xi):
    return z + h**0.5 * (u + g * xi)


@answers.wrong(1)
def takes_g_for_a_variance(z, u, h, g, xi):
    return z + h * u + (g * h) ** 0.5 * xi


@answers.right(1)
def steps_in_single_precision(z, u, h, g, xi):
    return torch.addcmul(z.float() + h * u.float(), xi.float(), torch.tensor(g * math.sqrt(h)))


@answers.right(1)
def steps_in_lists(z, u, h, g, xi):
    return (z + h * u + g * math.sqrt(h) * xi).tolist()


@answers.wrong(2)
def leaves_the_premium_out(z, y, t, c, g):
    return c * (z - y).square().sum(-1) / (2 * (1 + c * (1 - t)))


@answers.wrong(2)
def counts_one_coordinate(z, y, t, c, g):
    return leaves_the_premium_out(z, y, t, c, g) + g**2 / 2 * math.log(1 + c * (1 - t))


@answers.wrong(2)
def pays_the_whole_premium_at_all_times(z, y, t, c, g):
    return leaves_the_premium_out(z, y, t, c, g) + g**2 * z.shape[-1] / 2 * math.log(1 + c)


@answers.right(2)
def by_the_distribution_of_the_end(z, y, t, c, g):
    """-g^2 log of the mean of exp(-Phi/g^2) over N(z, g^2 (1 - t)); for g = 0 the cost of the soft control."""
    if g == 0:
        return leaves_the_premium_out(z, y, t, c, g).float()
    spread = g**2 / c + g**2 * (1 - t)
    height = torch.distributions.Normal(z, spread**0.5).log_prob(y) + 0.5 * math.log(
        2 * math.pi * g**2 / c
    )
    return -(g**2) * height.sum(-1)


@answers.right(2)
def values_in_an_array(z, y, t, c, g):
    z, y = z.numpy().astype("float32"), y.numpy().astype("float32")
    return c * ((z - y) ** 2).sum(-1) / (2 * (1 + c * (1 - t))) + g**2 * z.shape[-1] / 2 * math.log(
        1 + c * (1 - t)
    )


@answers.wrong(3)
def spreads_as_if_it_were_free(z, y, t, s, r, g):
    return z + (s - t) / (r - t) * (y - z), g**2 * (s - t)


@answers.wrong(3)
def ends_at_time_one(z, y, t, s, r, g):
    return z + (s - t) / (r - t) * (y - z), g**2 * (s - t) * (1 - s) / (1 - t)


@answers.wrong(3)
def gives_a_standard_deviation(z, y, t, s, r, g):
    return z + (s - t) / (r - t) * (y - z), g * math.sqrt((s - t) * (r - s) / (r - t))


@answers.right(3)
def by_fractions_of_the_way(z, y, t, s, r, g):
    way = torch.tensor((s - t) / (r - t))
    return [torch.lerp(z.float(), y.float(), way), g**2 * (r - t) * way * (1 - way)]


@answers.wrong(4)
def underflows(z, t, weights, means, v, g):
    spread, apart = v + g**2 * (1 - t), means - z[:, None]
    density = weights * torch.exp(-(apart**2) / (2 * spread))
    return g**2 / spread * (density * apart).sum(1) / density.sum(1)


@answers.wrong(4)
def weighs_modes_without_looking(z, t, weights, means, v, g):
    return (weights @ means - z) * g**2 / (v + g**2 * (1 - t))


@answers.wrong(4)
def forgets_the_width_of_modes(z, t, weights, means, v, g):
    apart = means - z[:, None]
    return ((weights.log() - apart**2 / (2 * g**2 * (1 - t))).softmax(1) * apart).sum(1) / (1 - t)


@answers.wrong(4)
def lets_autograd_differentiate(z, t, weights, means, v, g):
    def log_h(z):
        return (
            (weights.log() - (means - z[:, None]) ** 2 / (2 * (v + g**2 * (1 - t))))
            .logsumexp(1)
            .sum()
        )

    return g**2 * torch.func.grad(log_h)(z)


@answers.right(4)
def mode_by_mode(z, t, weights, means, v, g):
    spread = v + g**2 * (1 - t)
    scores = [w.log() - (z - m) ** 2 / (2 * spread) for w, m in zip(weights, means)]
    total = torch.stack(scores).logsumexp(0)
    return sum((score - total).exp() * (m - z) for score, m in zip(scores, means)) * (g**2 / spread)


@answers.right(4)
def drifts_in_single_precision(z, t, weights, means, v, g):
    return mode_by_mode(z.float(), t, weights.float(), means.float(), v, g)


def in_turns(cost, a, b, epsilon, rounds):
    """Sinkhorn in logarithms for a fixed number of rounds."""
    alpha = torch.zeros_like(a)
    for _ in range(rounds):
        beta = b.log() - (alpha[:, None] - cost / epsilon).logsumexp(0)
        alpha = a.log() - (beta - cost / epsilon).logsumexp(1)
    return (alpha[:, None] + beta - cost / epsilon).exp()


@answers.wrong(5)
def multiplies_factors(cost, a, b, epsilon):
    kernel, v = (-cost / epsilon).exp(), torch.ones_like(b)
    for _ in range(20_000):
        u = a / (kernel @ v)
        v = b / (u @ kernel)
    return u[:, None] * kernel * v


@answers.wrong(5)
def turns_a_hundred_times(cost, a, b, epsilon):
    return in_turns(cost, a, b, epsilon, 100)


@answers.wrong(5)
def stops_at_a_coarse_error_per_column(cost, a, b, epsilon):
    alpha = torch.zeros_like(a)
    while True:
        beta = b.log() - (alpha[:, None] - cost / epsilon).logsumexp(0)
        alpha = a.log() - (beta - cost / epsilon).logsumexp(1)
        plan = (alpha[:, None] + beta - cost / epsilon).exp()
        if (plan.sum(0) - b).abs().max() < 5e-7:
            return plan


@answers.wrong(5)
def couples_independently(cost, a, b, epsilon):
    return a[:, None] * b


@answers.wrong(5)
def makes_only_rows_right(cost, a, b, epsilon):
    return a[:, None] * (b.log() - cost / epsilon).softmax(1)


@answers.right(5)
def rows_first_in_lists(cost, a, b, epsilon):
    beta = torch.zeros_like(b)
    while True:
        alpha = a.log() - (beta - cost / epsilon).logsumexp(1)
        plan = (alpha[:, None] + beta - cost / epsilon).exp()
        if (plan.sum(0) - b).abs().sum() < 1e-8:
            return plan.tolist()
        beta = b.log() - (alpha[:, None] - cost / epsilon).logsumexp(0)


@answers.right(5)
def climbs_the_dual_by_newton(cost, a, b, epsilon):
    """Newton's method on the concave dual, after enough rounds to be near; the last potential is fixed."""
    log_p = in_turns(cost, a, b, epsilon, 500).log()
    for _ in range(20):
        p = log_p.exp()
        rows, columns = p.sum(1), p.sum(0)
        hessian = torch.cat((torch.cat((rows.diag(), p), 1), torch.cat((p.T, columns.diag()), 1)))[
            :-1, :-1
        ]
        step = torch.linalg.solve(hessian, torch.cat((a - rows, b - columns))[:-1])
        shift = torch.cat((step, torch.zeros(1).double()))
        log_p = log_p + shift[: len(a), None] + shift[len(a) :]
    return log_p.exp()


@answers.wrong(6)
def pairs_at_random(t, s0, s1, g):
    return (1 - t) ** 2 * s0**2 + t**2 * s1**2 + g**2 * t * (1 - t)


@answers.wrong(6)
def pairs_without_noise(t, s0, s1, g):
    return ((1 - t) * s0 + t * s1) ** 2 + g**2 * t * (1 - t)


@answers.wrong(6)
def forgets_the_bridge(t, s0, s1, g):
    k = float(gaussian_covariance(s0, s1, g))
    return (1 - t) ** 2 * s0**2 + t**2 * s1**2 + 2 * t * (1 - t) * k


@answers.right(6)
def with_a_covariance_matrix(t, s0, s1, g):
    k = 2 * s0**2 * s1**2 / (math.sqrt(g**4 + 4 * s0**2 * s1**2) + g**2)
    ends, blend = torch.tensor([[s0**2, k], [k, s1**2]]), torch.tensor([1 - t, t])
    return blend @ ends @ blend + g**2 * t * (1 - t)


test_answers = answers.test()
