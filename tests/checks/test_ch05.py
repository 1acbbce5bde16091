"""Answers to the exercises of chapter 05: wrong ones that its checks must refuse, right ones that they must accept."""

from itertools import product

import torch

from minildm.checks import ch05
from minildm.control.bridges import Mixture
from minildm.transport.mixtures import mixture_score, mixture_velocity
from minildm.transport.schedules import Linear

from .answers import Answers

answers = Answers(ch05)


@answers.wrong(1)
def goes_as_at_the_start(z, t, m, s):
    return m - z


@answers.wrong(1)
def takes_the_width_for_the_variance(z, t, m, s):
    return m + (t * s - (1 - t)) / (t**2 * s + (1 - t) ** 2) * (z - t * m)


@answers.wrong(1)
def forgets_the_moving_mean(z, t, m, s):
    return m + (t * s**2 - (1 - t)) / (t**2 * s**2 + (1 - t) ** 2) * z


@answers.wrong(1)
def goes_straight_to_the_mean(z, t, m, s):
    return (m - z) / (1 - t + 1e-9)


@answers.right(1)
def flows_in_single_precision(z, t, m, s):
    z, m = z.float(), m.float()
    return m + (t * s**2 - (1 - t)) / (t**2 * s**2 + (1 - t) ** 2) * (z - t * m)


@answers.right(1)
def by_the_growth_of_the_width(z, t, m, s):
    width, growth = torch.func.jvp(
        lambda t: (t**2 * s**2 + (1 - t) ** 2).sqrt(),
        (torch.tensor(t).double(),),
        (torch.tensor(1.0).double(),),
    )
    return (m + growth / width * (z - t * m)).tolist()


def with_edges(p, edge, v, g, width, h):
    """One step of finite volumes with the densities at their edges."""
    flux = v * edge - g**2 / 2 * p.diff() / width
    none = torch.zeros(1).to(p)
    return p - h / width * torch.cat((none, flux, none)).diff()


@answers.wrong(2)
def takes_the_mean_at_edges(p, v, g, width, h):
    return with_edges(p, (p[1:] + p[:-1]) / 2, v, g, width, h)


@answers.wrong(2)
def takes_the_cell_downwind(p, v, g, width, h):
    return with_edges(p, torch.where(v > 0, p[1:], p[:-1]), v, g, width, h)


@answers.wrong(2)
def loses_mass_at_the_walls(p, v, g, width, h):
    flux = torch.where(v > 0, p[:-1], p[1:]) * v - g**2 / 2 * p.diff() / width
    return p - h / width * torch.cat((flux[:1], flux, flux[-1:] * 0)).diff()


@answers.wrong(2)
def forgets_the_half_of_the_noise(p, v, g, width, h):
    return with_edges(p, torch.where(v > 0, p[:-1], p[1:]), v, g * 2**0.5, width, h)


@answers.right(2)
def edge_by_edge(p, v, g, width, h):
    after, p = p.tolist(), p.tolist()
    for i, drift in enumerate(v.tolist()):
        moved = h / width * (drift * p[i + (drift < 0)] - g**2 / 2 * (p[i + 1] - p[i]) / width)
        after[i] -= moved
        after[i + 1] += moved
    return after


@answers.right(2)
def cells_in_single_precision(p, v, g, width, h):
    p, v = p.float(), v.float()
    return with_edges(p, torch.where(v > 0, p[:-1], p[1:]), v, g, width, h)


def by_responsibilities(z, t, weights, means, stds, logits):
    """Velocity and score from logarithms of the responsibilities, up to a constant."""
    q, gap = t**2 * stds**2 + (1 - t) ** 2, z[:, None] - t * means
    r = logits(q, gap)
    return (r * (means + (t * stds**2 - (1 - t)) / q * gap)).sum(1), -(r * gap / q).sum(1)


@answers.wrong(3)
def densities_underflow(z, t, weights, means, stds):
    def responsibilities(q, gap):
        p = weights * torch.exp(-(gap**2) / (2 * q)) / q.sqrt()
        return p / p.sum(1, keepdim=True)

    return by_responsibilities(z, t, weights, means, stds, responsibilities)


@answers.wrong(3)
def forgets_that_modes_differ_in_width(z, t, weights, means, stds):
    return by_responsibilities(
        z, t, weights, means, stds, lambda q, gap: (weights.log() - gap**2 / (2 * q)).softmax(1)
    )


@answers.wrong(3)
def responsibilities_are_the_weights(z, t, weights, means, stds):
    return by_responsibilities(z, t, weights, means, stds, lambda q, gap: weights.expand_as(gap))


@answers.wrong(3)
def has_the_score_upside_down(z, t, weights, means, stds):
    u, score = in_logarithms(z, t, weights, means, stds)
    return u, -score


@answers.wrong(3)
def lets_autograd_find_the_score(z, t, weights, means, stds):
    mixture = Mixture(weights.log(), means[:, None], stds**2)
    z = z.clone().requires_grad_()
    q = t**2 * stds**2 + (1 - t) ** 2
    log_p = (weights.log() - (z[:, None] - t * means) ** 2 / (2 * q) - q.log() / 2).logsumexp(1)
    (score,) = torch.autograd.grad(log_p.sum(), z)
    return mixture_velocity(Linear(), mixture)(z.detach()[:, None], torch.tensor(t).double())[
        :, 0
    ], score


@answers.right(3)
def in_logarithms(z, t, weights, means, stds):
    return list(
        by_responsibilities(
            z,
            t,
            weights,
            means,
            stds,
            lambda q, gap: (weights.log() - gap**2 / (2 * q) - q.log() / 2).softmax(1),
        )
    )


@answers.right(3)
def by_the_package(z, t, weights, means, stds):
    mixture, now = Mixture(weights.log(), means[:, None], stds**2), torch.tensor(t).double()
    return tuple(
        make(Linear(), mixture)(z[:, None], now)[:, 0].numpy()
        for make in (mixture_velocity, mixture_score)
    )


@answers.right(3)
def responsibilities_in_single_precision(z, t, weights, means, stds):
    return in_logarithms(z.float(), t, weights.float(), means.float(), stds.float())


@answers.wrong(4)
def takes_the_drift_for_the_flow(v, score, g, other):
    return v + other**2 / 2 * score


@answers.wrong(4)
def squares_the_difference(v, score, g, other):
    return v + (other - g) ** 2 / 2 * score


@answers.wrong(4)
def turns_the_wrong_way(v, score, g, other):
    return v - (other**2 - g**2) / 2 * score


@answers.right(4)
def through_the_flow_in_single_precision(v, score, g, other):
    flow = v.float() - g**2 / 2 * score.float()
    return flow + other**2 / 2 * score.float()


@answers.right(4)
def drifts_in_nested_lists(v, score, g, other):
    return torch.lerp(v, v + score, (other - g) * (other + g) / 2).tolist()


@answers.wrong(5)
def takes_each_entry_for_itself(J):
    return J.square().sum((1, 2)) - J.diagonal(dim1=1, dim2=2).square().sum(1)


@answers.wrong(5)
def probes_with_gaussians(J):
    return (J + J.mT).square().sum((1, 2)) / 2


@answers.wrong(5)
def counts_each_pair_twice(J):
    return 2 * (J + J.mT).triu(1).square().sum((1, 2))


@answers.right(5)
def over_all_signs(J):
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=J.shape[1])), dtype=J.dtype)
    return torch.einsum("ni,bij,nj->bn", signs, J, signs).var(1, correction=0)


@answers.right(5)
def from_traces_in_single_precision(J):
    both = (J + J.mT).float()
    return (
        (both @ both).diagonal(dim1=1, dim2=2).sum(1)
        - both.diagonal(dim1=1, dim2=2).square().sum(1)
    ) / 2


test_answers = answers.test()
