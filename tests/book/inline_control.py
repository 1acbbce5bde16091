"""Comparisons for `test_inline` of what chapters 01 to 04 write themselves with minildm.control."""

import torch

from minildm.control import bridges, feedback, gradients, hjb, linear_quadratic, riccati, sinkhorn
from minildm.control.grid import Grid, solve
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass, TwoWells
from minildm.dynamics.solvers import euler_maruyama, integrate

from .inline import inline, normal, uniform


def plan_of(rng):
    """A system, a plan of 9 intervals for 1 start, and its times."""
    system = (DoubleIntegrator(effort=uniform(rng, 0.5, 2)), Pendulum(weight=uniform(rng, 1, 9)))[
        int(uniform(rng, 0, 2))
    ]
    return (
        system,
        normal(rng, 9, 1, 1),
        normal(rng, 1, 2),
        torch.linspace(0, 1.8, 10, dtype=torch.float64),
    )


@inline("01", "roll")
def euler_rollout(roll, rng):
    system, plan, start, times = plan_of(rng)
    run = feedback.rollout(system.plant, feedback.replay(plan, times), start, times, "euler")
    return roll(system, plan, start, 0.2), run.path.states


@inline("01", "add_up")
def cost_of_a_rollout(add_up, rng):
    system, plan, start, times = plan_of(rng)
    run = feedback.rollout(system.plant, feedback.replay(plan, times), start, times)
    return add_up(system, run.path.states, plan, 0.2), feedback.cost(system, run)


@inline("01", "adjoint_gradient")
def gradient_by_costates(adjoint_gradient, rng):
    system, plan, start, times = plan_of(rng)
    return adjoint_gradient(system, plan, start, 0.2), gradients.slope(
        gradients.plan_cost(system, start, times, "euler"), plan
    )[1]


@inline("01", "central_differences")
def gradient_by_differences(central_differences, rng):
    system, plan, start, times = plan_of(rng)
    objective = gradients.plan_cost(system, start, times)
    return central_differences(objective, plan, 1e-4), gradients.differences(objective, plan, 1e-4)


@inline("01", "walk")
def descent(walk, rng):
    _, plan, start, times = plan_of(rng)
    objective = gradients.plan_cost(DoubleIntegrator(), start, times)
    return walk(objective, plan, 0.01, 20)[-1], gradients.descend(objective, plan, 0.01, 20).plan


@inline("02", "left_over")
def residual_of_a_value(left_over, rng):
    z, t, c = normal(rng, 6, 2), uniform(rng, 0, 0.9), uniform(rng, 0.5, 5)

    def value(z, t):
        return c * (1 - t) * torch.sin(z).sum(-1) + z.square().sum(-1) * t

    return left_over(value, z, t), hjb.residual(
        value, PointMass(2), z, torch.tensor(t, dtype=torch.float64)
    )


@inline("02", "iterate")
def value_iteration(iterate, rng):
    line, efforts = Grid((-3.0,), (3.0,), (61,)), Grid((-5.0,), (5.0,), (31,)).points()
    wells, steps = TwoWells(weight=uniform(rng, 1, 5)), 5 + int(uniform(rng, 0, 10))
    table = solve(wells, line, efforts, torch.linspace(0, 1, steps + 1, dtype=torch.float64))
    return iterate(wells.terminal, line.axes()[0], efforts[:, 0], steps), table.values


@inline("02", "lax", close=1e-7)  # its list of ends is finite
def best_end(lax, rng):
    wells, z, t = TwoWells(), normal(rng, 8, 1), uniform(rng, 0, 0.9)
    ends = Grid((-4.0,), (4.0,), (80_001,))
    value, _ = hjb.hopf_lax(
        wells.terminal, z, torch.tensor(t, dtype=torch.float64), Grid((-4.0,), (4.0,), (401,))
    )
    return lax(wells.terminal, z, t, ends.points())[0], value


@inline("02", "cole")
@inline("04", "soft_control")
def mean_of_good_ends(cole, rng):
    wells, z, t, g = (
        TwoWells(),
        normal(rng, 8, 1),
        torch.tensor(uniform(rng, 0, 0.9)).double(),
        uniform(rng, 0.5, 2),
    )
    ends = Grid((-6.0,), (6.0,), (601,))
    return cole(wells.terminal, z, t, g, ends.points()), hjb.hopf_cole(
        wells.terminal, z, t, g, ends
    )


def linear_system(rng, n: int = 3, m: int = 2):
    roots = normal(rng, 3, n, n)
    costs = roots @ roots.mT + torch.eye(n, dtype=torch.float64)
    return linear_quadratic.LinearQuadratic(
        normal(rng, n, n), normal(rng, n, m), costs[0], costs[1][:m, :m], costs[2]
    )


@inline("03", "riccati_by_hand")
def riccati_backwards(by_hand, rng):
    system, times = linear_system(rng), torch.linspace(0, 1, 41, dtype=torch.float64)
    return by_hand(system.A, system.B, system.Q, system.R, system.Q1, times), riccati.riccati(
        system, times
    ).P


@inline("03", "algebraic_by_hand")
def riccati_at_rest(by_hand, rng):
    system = linear_system(rng)
    return by_hand(system.A, system.B, system.Q, system.R), riccati.algebraic(system)


@inline("03", "pinned")
def control_to_a_point(pinned, rng):
    y, z, t = *normal(rng, 2, 4, 3, 2), torch.rand(4, generator=rng, dtype=torch.float64)
    return pinned(y, z, t, 0.1), linear_quadratic.pinned_control(y, z, t, 0.1)


@inline("03", "soft")
def control_near_a_point(soft, rng):
    y, z, t = *normal(rng, 2, 4, 3, 2), torch.rand(4, generator=rng, dtype=torch.float64)
    return soft(y, z, t, 3.0), linear_quadratic.soft_terminal_control(y, z, t, 3.0)


@inline("03", "disturb_by_hand")
def three_paths(by_hand, rng):
    y, start, push, times = *normal(rng, 3, 4, 2), torch.linspace(0, 0.9, 10, dtype=torch.float64)

    def policy(z, t):
        return linear_quadratic.pinned_control(y, z, t)

    disturbed = feedback.disturb(feedback.transport, policy, start, times, (4, push), "euler")
    return by_hand(policy, start, times, 4, push), (
        disturbed.plan.states,
        disturbed.closed.states[4:],
        disturbed.replayed.states[4:],
    )


@inline("04", "noisy_path", close=1e-6)  # in float32
def euler_with_noise(noisy_path, rng):
    z, times, g = torch.randn(5, 2, generator=rng), torch.linspace(0, 1, 12), uniform(rng, 0.1, 2)
    path = noisy_path(lambda z, t: -z, z, times, g, torch.Generator().manual_seed(7))
    return path, integrate(
        lambda z, t: -z, z, times, euler_maruyama(g), torch.Generator().manual_seed(7)
    ).states


@inline("04", "bridge_distribution")
def between_two_points(bridge_distribution, rng):
    z, y, t, g = *normal(rng, 2, 5, 2), uniform(rng, 0, 0.5), uniform(rng, 0, 2)
    exact = bridges.bridge(z, y, t, t + 0.3, g)
    return bridge_distribution(z, y, t, t + 0.3, g), (exact.mean, exact.variance)


@inline("04", "sinkhorn_inline", close=1e-6)  # both stop before the limit
def coupling_by_rounds(by_rounds, rng):
    x, y, g = normal(rng, 7, 1), normal(rng, 6, 1), uniform(rng, 0.8, 1.5)
    a, b, cost = normal(rng, 7).softmax(0), normal(rng, 6).softmax(0), sinkhorn.half_squares(x, y)
    return by_rounds(cost, a, b, g, 2000)[0], sinkhorn.sinkhorn(cost, a, b, g**2).coupling
