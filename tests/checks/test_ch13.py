"""Answers to the exercises of chapter 13: wrong ones that its checks must refuse, right ones that they must accept."""

import torch

from minildm.checks import ch13

from .answers import Answers

answers = Answers(ch13)


# --- 13.1: the mean of many controls -----------------------------------------------------------------------------------


@answers.wrong(1)
def meets_the_end_at_any_cost(ends, p, z, t, c):
    return (p @ ends - z) / (1 - t)


@answers.wrong(1)
def counts_all_ends_alike(ends, p, z, t, c):
    return c * (ends.mean(0) - z) / (1 + c * (1 - t))


@answers.wrong(1)
def goes_to_the_likeliest_end(ends, p, z, t, c):
    return c * (ends[p.argmax(1)] - z) / (1 + c * (1 - t))


@answers.wrong(1)
def takes_time_for_what_is_left(ends, p, z, t, c):
    return c * (p @ ends - z) / (1 + c * t)


@answers.right(1)
def sums_the_controls_one_by_one(ends, p, z, t, c):
    return sum(p[:, j, None] * c * (ends[j] - z) / (1 + c * (1 - t)) for j in range(len(ends)))


@answers.right(1)
def row_by_row_in_single_precision(ends, p, z, t, c):
    rows = [
        c / (1 + c * (1 - t)) * (row @ ends.float() - start)
        for row, start in zip(p.float(), z.float())
    ]
    return [row.tolist() for row in rows]


# --- 13.2: what a latent says of its word --------------------------------------------------------------------------


@answers.wrong(2)
def forgets_the_variance(z, t, prior, means, variances):
    return (prior.log() - ((z[:, None] - t[:, None, None] * means) ** 2).sum(-1) / 2).softmax(-1)


@answers.wrong(2)
def forgets_the_size_of_the_means(z, t, prior, means, variances):
    t = t[:, None]
    return (prior.log() + t * (z / (t**2 * variances + (1 - t) ** 2)) @ means.T).softmax(-1)


@answers.wrong(2)
def forgets_the_prior(z, t, prior, means, variances):
    t = t[:, None]
    q = t**2 * variances + (1 - t) ** 2
    return (t * (z / q) @ means.T - t**2 / 2 * (1 / q) @ (means**2).T).softmax(-1)


@answers.wrong(2)
def divides_by_the_time(z, t, prior, means, variances):
    t = t[:, None]
    q = variances + ((1 - t) / t) ** 2
    return (prior.log() - ((z / t)[:, None] - means).square().div(2 * q[:, None]).sum(-1)).softmax(
        -1
    )


@answers.right(2)
def by_densities_in_single_precision(z, t, prior, means, variances):
    t = t[:, None, None]
    std = (t**2 * variances + (1 - t) ** 2).sqrt()
    log = (
        torch.distributions.Normal((t * means).float(), std.float())
        .log_prob(z[:, None].float())
        .sum(-1)
    )
    joint = prior.float() * log.exp()
    return joint / joint.sum(1, keepdim=True)


@answers.right(2)
def word_by_word(z, t, prior, means, variances):
    rows = []
    for i in range(len(z)):
        q = t[i] ** 2 * variances + (1 - t[i]) ** 2
        odds = [
            float(p * torch.exp(-((z[i] - t[i] * m) ** 2 / (2 * q)).sum()))
            for p, m in zip(prior, means)
        ]
        rows.append([one / sum(odds) for one in odds])
    return rows


# --- 13.3: noise levels --------------------------------------------------------------------------------------------------


@answers.wrong(3)
def gives_the_observed_a_rank(t, offset, observed):
    tau = ((1 + offset) * t - offset * torch.linspace(0, 1, len(observed)).double()).clamp(0, 1)
    return tau.where(~observed, torch.ones_like(tau))


@answers.wrong(3)
def does_not_clip(t, offset, observed):
    rank = ((~observed).double().cumsum(0) - 1) / max(int((~observed).sum()) - 1, 1)
    return ((1 + offset) * t - offset * rank).where(~observed, torch.ones_like(rank))


@answers.wrong(3)
def divides_by_the_number_of_movers(t, offset, observed):
    rank = ((~observed).double().cumsum(0) - 1) / int((~observed).sum())
    return ((1 + offset) * t - offset * rank).clamp(0, 1).where(~observed, torch.ones_like(rank))


@answers.wrong(3)
def lets_the_rear_leave_first(t, offset, observed):
    rank = 1 - ((~observed).double().cumsum(0) - 1) / max(int((~observed).sum()) - 1, 1)
    return ((1 + offset) * t - offset * rank).clamp(0, 1).where(~observed, torch.ones_like(rank))


@answers.right(3)
def position_by_position(t, offset, observed):
    movers = [i for i, there in enumerate(observed.tolist()) if not there]
    tau = [1.0] * len(observed)
    for rank, i in enumerate(movers):
        tau[i] = min(max((1 + offset) * t - offset * rank / max(len(movers) - 1, 1), 0.0), 1.0)
    return tau


@answers.right(3)
def in_single_precision(t, offset, observed):
    tau = torch.ones(len(observed))
    movers = int((~observed).sum())
    tau[~observed] = ((1 + offset) * t - offset * torch.linspace(0, 1, movers)).clamp(0, 1)
    return tau


# --- 13.4: a step that renews noise --------------------------------------------------------------------------------


def ends_of(z, u, t):
    return z + (1 - t) * u, z - t * u


@answers.wrong(4)
def adds_noise_to_an_euler_step(z, u, t, s, eta, xi):
    return z + (s - t) * u + eta * (s - t) ** 0.5 * xi


@answers.wrong(4)
def keeps_all_of_the_old_noise(z, u, t, s, eta, xi):
    r = t * (1 - s) / (s * (1 - t))
    return z + (s - t) * u + eta * (1 - s) * (1 - r**2) ** 0.5 * xi


@answers.wrong(4)
def forgets_the_square_of_eta(z, u, t, s, eta, xi):
    one, zero = ends_of(z, u, t)
    r = t * (1 - s) / (s * (1 - t))
    v = eta * (1 - s) ** 2 * (1 - r**2)
    return s * one + ((1 - s) ** 2 - v) ** 0.5 * zero + v**0.5 * xi


@answers.wrong(4)
def renews_all_noise_at_once(z, u, t, s, eta, xi):
    one, zero = ends_of(z, u, t)
    return s * one + (1 - s) * ((1 - eta**2) ** 0.5 * zero + eta * xi)


@answers.right(4)
def turns_old_noise_into_new(z, u, t, s, eta, xi):
    one, zero = ends_of(z, u, t)
    angle = torch.arcsin(eta * (1 - (t * (1 - s) / (s * (1 - t))) ** 2).sqrt())
    return s * one + (1 - s) * (angle.cos() * zero + angle.sin() * xi)


@answers.right(4)
def in_single_precision_by_lists(z, u, t, s, eta, xi):
    z, u, xi, t, s = z.float(), u.float(), xi.float(), float(t), float(s)
    fresh = eta**2 * (1 - (t * (1 - s) / (s * (1 - t))) ** 2)
    return (
        z + (s - t) * u + (1 - s) * (((1 - fresh) ** 0.5 - 1) * (z - t * u) + fresh**0.5 * xi)
    ).tolist()


# --- 13.5: guidance in closed form -----------------------------------------------------------------------------------


def log_probabilities(z, t, means, variances):
    q = t**2 * variances + (1 - t) ** 2
    return (t * (z / q) @ means.T - t**2 / 2 * (means**2 / q).sum(-1)).log_softmax(-1)


def plain_end(z, t, means, variances):
    m = log_probabilities(z, t, means, variances).exp() @ means
    return m + t * variances / (t**2 * variances + (1 - t) ** 2) * (z - t * m)


def push_of(z, t, means, variances, target):
    return torch.func.grad(lambda z: target(log_probabilities(z, t, means, variances)))(z)


@answers.wrong(5)
def ignores_the_target(z, t, means, variances, target):
    return (plain_end(z, t, means, variances) - z) / (1 - t)


@answers.wrong(5)
def forgets_what_stands_before_the_gradient(z, t, means, variances, target):
    return (plain_end(z, t, means, variances) + push_of(z, t, means, variances, target) - z) / (
        1 - t
    )


@answers.wrong(5)
def takes_the_factor_of_the_velocity(z, t, means, variances, target):
    velocity = (plain_end(z, t, means, variances) - z) / (1 - t)
    return velocity + (1 - t) ** 2 / t * push_of(z, t, means, variances, target)


@answers.wrong(5)
def returns_the_end(z, t, means, variances, target):
    return plain_end(z, t, means, variances) + (1 - t) ** 2 / t * push_of(
        z, t, means, variances, target
    )


@answers.wrong(5)
def evaluates_the_target_of_each_word_and_sums(z, t, means, variances, target):
    chances = torch.stack([target(row) for row in torch.eye(len(means), dtype=z.dtype).log()]).exp()
    p = log_probabilities(z, t, means, variances).exp() * chances
    m = p / p.sum() @ means
    return (m + t * variances / (t**2 * variances + (1 - t) ** 2) * (z - t * m) - z) / (1 - t)


@answers.right(5)
def by_the_chain_rule(z, t, means, variances, target):
    log_p = log_probabilities(z, t, means, variances).requires_grad_()
    felt = torch.autograd.grad(target(log_p), log_p)[0]
    slopes = t * means / (t**2 * variances + (1 - t) ** 2)
    push = (felt - felt.sum() * log_p.detach().exp()) @ slopes
    return (plain_end(z, t, means, variances) - z) / (1 - t) + (1 - t) / t * push


@answers.right(5)
def by_a_backward_pass_in_single_precision(z, t, means, variances, target):
    z, means, variances = z.float().requires_grad_(), means.float(), variances.float()
    target(log_probabilities(z, t, means, variances)).backward()
    end = plain_end(z.detach(), t, means, variances) + (1 - t) ** 2 / t * z.grad
    return ((end - z.detach()) / (1 - t)).tolist()


test_answers = answers.test()
