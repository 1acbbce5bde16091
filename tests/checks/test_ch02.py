"""Answers to the exercises of chapter 02: wrong ones that its checks must refuse, right ones that they must accept."""

import math

import torch

from minildm.checks import ch02

from .answers import Answers

answers = Answers(ch02)


@answers.wrong(1)
def walks_around_the_edge(values, moves, costs):
    return torch.stack([cost + values.roll(-move) for move, cost in zip(moves, costs)]).amin(0)


@answers.wrong(1)
def stops_at_the_edge(values, moves, costs):
    cells, last = torch.arange(len(values)), len(values) - 1
    return torch.stack(
        [cost + values[(cells + move).clamp(0, last)] for move, cost in zip(moves, costs)]
    ).amin(0)


def ways(values, moves, costs):
    """What each move costs from each cell, as lists."""
    return [
        [
            cost + float(values[i + move]) if 0 <= i + move < len(values) else math.inf
            for i in range(len(values))
        ]
        for move, cost in zip(moves, costs)
    ]


@answers.wrong(1)
def takes_the_dearest_move(values, moves, costs):
    return torch.tensor(ways(values, moves, costs)).amax(0)


@answers.wrong(1)
def forgets_the_costs(values, moves, costs):
    return torch.tensor(ways(values, moves, [0.0] * len(moves))).amin(0)


@answers.wrong(1)
def moves_the_other_way(values, moves, costs):
    return torch.tensor(ways(values, [-move for move in moves], costs)).amin(0)


@answers.right(1)
def as_a_list(values, moves, costs):
    return [min(column) for column in zip(*ways(values, moves, costs))]


@answers.right(1)
def by_padding_in_single_precision(values, moves, costs):
    far = max(map(abs, moves))
    padded, n = torch.nn.functional.pad(values.float(), (far, far), value=math.inf), len(values)
    return torch.stack(
        [cost + padded[far + move : far + move + n] for move, cost in zip(moves, costs)]
    ).amin(0)


def derivatives(value, z, t):
    """V_t, V_z and V_zz by autograd."""
    z, t = z.clone().requires_grad_(), t.clone().requires_grad_()
    rate, slope = torch.autograd.grad(value(z, t).sum(), (t, z), create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), z)
    return rate.detach(), slope.detach(), curvature


@answers.wrong(2)
def forgets_the_noise(value, z, t, g):
    rate, slope, _ = derivatives(value, z, t)
    return rate - slope**2 / 2


@answers.wrong(2)
def forgets_to_square_the_noise(value, z, t, g):
    rate, slope, curvature = derivatives(value, z, t)
    return rate - slope**2 / 2 + g / 2 * curvature


@answers.wrong(2)
def runs_against_time(value, z, t, g):
    rate, slope, curvature = derivatives(value, z, t)
    return -rate - slope**2 / 2 + g**2 / 2 * curvature


@answers.wrong(2)
def pays_for_the_control_twice(value, z, t, g):
    rate, slope, curvature = derivatives(value, z, t)
    return rate - slope**2 + g**2 / 2 * curvature


@answers.right(2)
def by_functional_derivatives_in_single_precision(value, z, t, g):
    z, t = z.float(), t.float()
    slope = torch.func.grad(lambda z: value(z, t).sum())
    _, curvature = torch.func.jvp(slope, (z,), (torch.ones_like(z),))
    _, rate = torch.func.jvp(lambda t: value(z, t), (t,), (torch.ones_like(t),))
    return rate - slope(z) ** 2 / 2 + g**2 / 2 * curvature


@answers.right(2)
def by_differences_of_order_four(value, z, t, g):
    h = 2e-3

    def first(f):
        return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)

    near, far = value(z + h, t) + value(z - h, t), value(z + 2 * h, t) + value(z - 2 * h, t)
    curvature = (16 * near - far - 30 * value(z, t)) / (12 * h**2)
    return (
        first(lambda s: value(z, t + s))
        - first(lambda s: value(z + s, t)) ** 2 / 2
        + g**2 / 2 * curvature
    )


def costs_of(y, phi, z, t):
    """What each end costs from each state, (batch, end)."""
    return phi + (z[:, None] - y).square().sum(-1) / (2 * (1 - t))


@answers.wrong(3)
def always_takes_the_best_end(y, phi, z, t, g):
    return (y[costs_of(y, phi, z, t).argmin(1)] - z) / (1 - t)


@answers.wrong(3)
def underflows(y, phi, z, t, g):
    weights = torch.exp(-costs_of(y, phi, z, t) / max(g, 1e-3) ** 2)
    return (weights @ y / weights.sum(1, keepdim=True) - z) / (1 - t)


@answers.wrong(3)
def forgets_to_normalize(y, phi, z, t, g):
    costs = costs_of(y, phi, z, t)
    costs = costs - costs.amin(1, keepdim=True)
    return (torch.exp(-costs / max(g, 1e-6) ** 2) @ y - z) / (1 - t)


@answers.wrong(3)
def forgets_the_way_to_the_end(y, phi, z, t, g):
    aim = (-phi / g**2).softmax(0) @ y if g else y[phi.argmin()]
    return (aim - z) / (1 - t)


@answers.wrong(3)
def divides_by_the_noise_once(y, phi, z, t, g):
    costs = costs_of(y, phi, z, t)
    aim = (-costs / g).softmax(1) @ y if g else y[costs.argmin(1)]
    return (aim - z) / (1 - t)


@answers.right(3)
def one_state_after_the_other_as_lists(y, phi, z, t, g):
    controls = []
    for state in z:
        costs = phi + ((state - y) ** 2).sum(1) / (2 * (1 - t))
        least = costs.min()
        weights = torch.exp(-(costs - least) / g**2) if g else (costs == least).double()
        controls.append(((weights[:, None] * y).sum(0) / weights.sum() - state) / (1 - t))
    return controls


@answers.right(3)
def in_single_precision(y, phi, z, t, g):
    costs = costs_of(y, phi, z, t).float()
    weights = (-(costs - costs.amin(1, keepdim=True)) / max(g, 1e-5) ** 2).softmax(1)
    return (weights @ y.float() - z.float()) / (1 - t)


@answers.wrong(4)
def refuses_all_curvature(values, dz, tau):
    return bool((values.diff().diff() <= 1e-9).all())


@answers.wrong(4)
def accepts_everything(values, dz, tau):
    return True


@answers.wrong(4)
def refuses_ridges_too(values, dz, tau):
    return bool((values.diff().diff().abs() <= dz**2 / tau + 1e-9).all())


@answers.wrong(4)
def forgets_to_square_the_step(values, dz, tau):
    return bool((values.diff().diff() <= dz / tau + 1e-9).all())


@answers.wrong(4)
def forgets_the_time(values, dz, tau):
    return bool((values.diff().diff() <= dz**2 + 1e-9).all())


@answers.wrong(4)
def uses_the_mean_only(values, dz, tau):
    return bool(values.diff().diff().mean() <= dz**2 / tau + 1e-9)


@answers.wrong(4)
def is_content_with_one_good_place(values, dz, tau):
    return bool((values.diff().diff() <= dz**2 / tau + 1e-9).any())


@answers.wrong(4)
def allows_no_rounding(values, dz, tau):
    return bool((values.diff().diff() <= dz**2 / tau).all())


@answers.wrong(4)
def forgets_to_ask_for_all(values, dz, tau):
    return values.diff().diff() <= dz**2 / tau + 1e-9


@answers.wrong(4)
def allows_too_much_rounding(values, dz, tau):
    return bool((values.diff().diff() <= dz**2 / tau + 1e-3).all())


@answers.right(4)
def as_a_tensor(values, dz, tau):
    return (values[2:] - 2 * values[1:-1] + values[:-2] <= dz**2 / tau + 1e-9).all()


@answers.right(4)
def by_a_loop(values, dz, tau):
    v = values.tolist()
    return all(v[i - 1] - 2 * v[i] + v[i + 1] <= dz**2 / tau + 1e-9 for i in range(1, len(v) - 1))


test_answers = answers.test()
