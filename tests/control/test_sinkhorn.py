"""Schroedinger bridges: marginals, potentials, closed form for Gaussians, and both limits of the noise."""

import math

import pytest
import torch

from minildm import UserError
from minildm.control.bridges import Mixture, bridge_step, doob, log_transform, mixture_h
from minildm.control.sinkhorn import (
    check_problem,
    draw_pairs,
    gaussian_covariance,
    half_squares,
    sinkhorn,
    terminal_weight,
)
from minildm.dynamics.solvers import euler_maruyama, integrate


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def even(n: int) -> torch.Tensor:
    return torch.full((n,), 1 / n, dtype=torch.float64)


def on_grid(mean: float, std: float, x: torch.Tensor) -> torch.Tensor:
    return (-((x[:, 0] - mean) ** 2) / (2 * std**2)).softmax(0)


def largest_error(plan, a, b) -> float:
    return float(
        max(
            (plan.coupling.sum(-1) - a).abs().sum(-1).max(),
            (plan.coupling.sum(-2) - b).abs().sum(-1).max(),
        )
    )


@pytest.mark.parametrize("g", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("d", [1, 2])
def test_marginals(g, d):
    x, y = cloud(30, d), 0.5 * cloud(25, d, seed=1) + 1
    a, b = cloud(30, seed=2).softmax(0), cloud(25, seed=3).softmax(0)
    plan = sinkhorn(half_squares(x, y), a, b, g**2)
    assert largest_error(plan, a, b) <= 1e-6
    again = (
        a[:, None] * b * torch.exp((plan.alpha[:, None] + plan.beta - half_squares(x, y)) / g**2)
    )
    assert torch.allclose(plan.coupling, again)


def test_marginals_on_a_grid_of_two_modes():
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None]
    a, b = on_grid(0, 1, x), (on_grid(-2, 0.5, x) + on_grid(2, 0.5, x)) / 2
    for g in (0.2, 2.0):
        assert largest_error(sinkhorn(half_squares(x, x), a, b, g**2), a, b) <= 1e-6


def test_a_batch_is_solved_like_its_members():
    x, y, a = cloud(3, 20, 2), cloud(3, 20, 2, seed=1), even(20).expand(3, 20)
    in_one_batch = sinkhorn(half_squares(x, y), a, a, 0.25, tolerance=1e-10)
    for k in range(3):
        alone = sinkhorn(half_squares(x[k], y[k]), a[k], a[k], 0.25, tolerance=1e-10)
        assert torch.allclose(in_one_batch.coupling[k], alone.coupling, atol=1e-9)


def test_points_without_mass_get_none():
    a = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)
    plan = sinkhorn(half_squares(cloud(3, 1), cloud(4, 1, seed=1)), a, even(4), 1.0)
    assert largest_error(plan, a, even(4)) <= 1e-6 and (plan.coupling[0] == 0).all()


def test_the_mistakes_of_a_user():
    cost = half_squares(cloud(8, 1), cloud(8, 1, seed=1))
    with pytest.raises(UserError, match="different mass"):
        sinkhorn(cost, even(8), 2 * even(8), 1.0)
    with pytest.raises(UserError, match="after 3 rounds: raise epsilon"):
        sinkhorn(cost, even(8), even(8), 0.01, max_rounds=3)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_an_epsilon_that_is_not_above_zero_is_refused(epsilon):
    with pytest.raises(UserError, match="above zero"):
        sinkhorn(half_squares(cloud(4, 1), cloud(4, 1, seed=1)), even(4), even(4), epsilon)


@pytest.mark.parametrize("wrong", [math.inf, math.nan])
def test_a_cost_that_is_no_number_is_refused(wrong):
    cost = half_squares(cloud(4, 1), cloud(4, 1, seed=1))
    cost[1, 2] = wrong
    with pytest.raises(UserError, match="finite cost"):
        sinkhorn(cost, even(4), even(4), 1.0)


def test_weights_must_belong_to_the_points():
    cost = half_squares(cloud(4, 1), cloud(5, 1))
    with pytest.raises(UserError, match="4 x 5 pairs, but there are 5 x 4"):
        check_problem(cost, even(5), even(4), 1.0)
    with pytest.raises(UserError, match="negative"):
        sinkhorn(cost, torch.tensor([-0.5, 0.5, 0.5, 0.5], dtype=torch.float64), even(5), 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [10.0**-k for k in range(0, 18, 2)])
def test_the_error_reported_is_that_of_the_coupling(dtype, epsilon):
    """Below the precision of the costs, the coupling is refused instead of called converged."""
    cost, a = half_squares(cloud(20, 2), cloud(20, 2, seed=1)).to(dtype), even(20).to(dtype)
    try:
        plan = sinkhorn(cost, a, a, epsilon, tolerance=1e-4, max_rounds=200)
    except UserError as refused:
        assert epsilon < 0.1 and (
            "not precise enough" in str(refused).replace("\n", " ") or "rounds" in str(refused)
        )
        return
    assert plan.error == pytest.approx(largest_error(plan, a, a), abs=1e-12) and plan.error <= 1e-4


def test_no_other_coupling_is_better():
    """Cost + epsilon KL grows along every direction that keeps the marginals."""
    epsilon, a = 0.5, even(6)
    cost = half_squares(cloud(6, 1), cloud(6, 1, seed=1))
    best = sinkhorn(cost, a, a, epsilon, tolerance=1e-12).coupling

    def objective(p):
        return float((p * cost).sum() + epsilon * (p * (p / (a[:, None] * a)).log()).sum())

    for seed in range(20):
        move = cloud(6, 6, seed=seed)
        move = move - move.mean(0) - move.mean(1, keepdim=True) + move.mean()
        assert objective(best + 1e-4 * move / move.abs().max()) > objective(best)


def test_little_noise_sorts_and_much_noise_shuffles():
    """g -> 0: optimal transport, in one dimension the sorted coupling; g -> infinity: the independent one."""
    n = 12
    x, y, a = (
        torch.randperm(n, generator=rng())[:, None] / 2.0,
        torch.randperm(n, generator=rng(1))[:, None] - 3.0,
        even(n),
    )
    x, y = x.double(), y.double()
    cost, rank = half_squares(x, y), torch.zeros(n, n, dtype=torch.float64)
    rank[x[:, 0].argsort(), y[:, 0].argsort()] = 1 / n
    sorted_cost = float((rank * cost).sum())
    costs = [
        float((sinkhorn(cost, a, a, g**2).coupling * cost).sum())
        for g in (0.2, 0.5, 1.0, 3.0, 100.0)
    ]
    assert costs == sorted(costs) and costs[0] >= sorted_cost - 1e-5
    assert torch.allclose(sinkhorn(cost, a, a, 0.2**2).coupling, rank, atol=1e-2)
    assert costs[0] == pytest.approx(sorted_cost, rel=1e-2)
    assert torch.allclose(sinkhorn(cost, a, a, 1e4).coupling, a[:, None] * a, atol=1e-4)


@pytest.mark.parametrize("g", [0.3, 1.0, 2.0])
def test_gaussians_in_closed_form(g):
    """On a fine grid Sinkhorn finds the covariance of the ends that the closed form gives."""
    x = torch.linspace(-8, 8, 97, dtype=torch.float64)[:, None]
    a, b = on_grid(-1, 0.8, x), on_grid(1.5, 1.3, x)
    coupling = sinkhorn(half_squares(x, x), a, b, g**2).coupling
    covariance = float((coupling * (x + 1) * (x[:, 0] - 1.5)).sum())
    assert covariance == pytest.approx(float(gaussian_covariance(0.8, 1.3, g)), abs=1e-5)


def test_gaussian_covariance_at_both_ends_of_the_noise():
    assert float(gaussian_covariance(0.5, 3.0, 0.0)) == pytest.approx(1.5)
    assert float(gaussian_covariance(0.5, 3.0, 1e3)) == pytest.approx(
        (0.5 * 3 / 1e3) ** 2, rel=1e-4
    )


def test_the_potential_is_the_cost_to_go_at_the_start():
    """alpha = V(., 0), up to the constant g^2 d/2 log(2 pi g^2)."""
    g, x, y, a, b = 0.7, cloud(30, 2), cloud(40, 2, seed=1), even(30), even(40)
    plan = sinkhorn(half_squares(x, y), a, b, g**2, tolerance=1e-12)
    value = log_transform(mixture_h(terminal_weight(plan, y, b, g), g), g)(x, torch.tensor(0.0))
    assert torch.allclose(value, plan.alpha + g**2 * math.log(2 * math.pi * g**2), atol=1e-9)


@pytest.mark.parametrize("way", ["mixture of bridges", "control"])
def test_the_schroedinger_bridge_has_its_marginals(way):
    """Between Gaussians: mean and variance at several times within 3 standard errors, by bridges and by feedback."""
    g, m0, s0, m1, s1, many = 1.0, -1.0, 0.8, 1.5, 0.4, 2000
    x = torch.linspace(-4, 4, 61, dtype=torch.float64)[:, None]
    a, b = on_grid(m0, s0, x), on_grid(m1, s1, x)
    plan = sinkhorn(half_squares(x, x), a, b, g**2)
    steps = 10 if way == "mixture of bridges" else 60
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if way == "mixture of bridges":
        i, j = draw_pairs(plan.coupling, many, rng(1))
        path = integrate(None, x[i], times, bridge_step(x[j], g), rng(2))
    else:
        start = Mixture(a.log(), x, torch.zeros_like(a)).sample(many, rng(1))
        policy = doob(mixture_h(terminal_weight(plan, x, b, g), g), g)
        path = integrate(policy, start, times, euler_maruyama(g), rng(2))
    k = float(gaussian_covariance(s0, s1, g))
    for tenth in (2, 5, 8):
        t, z = tenth / 10, path.states[tenth * steps // 10, :, 0]
        variance = ((1 - t) * s0) ** 2 + (t * s1) ** 2 + 2 * t * (1 - t) * k + g**2 * t * (1 - t)
        assert abs(float(z.mean()) - (1 - t) * m0 - t * m1) < 3 * math.sqrt(variance / many)
        assert abs(float(z.var()) - variance) < 3 * variance * math.sqrt(2 / many)


def test_pairs_are_drawn_with_the_probabilities_of_the_coupling():
    p = torch.tensor([[0.1, 0.0], [0.3, 0.6]])
    i, j = draw_pairs(p, 20_000, rng())
    fraction = torch.bincount(2 * i + j, minlength=4) / 20_000
    assert fraction[1] == 0 and torch.allclose(
        fraction, p.flatten(), atol=3 * math.sqrt(0.25 / 20_000)
    )
