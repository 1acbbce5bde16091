"""Inline equals package: what a chapter writes itself is lifted out of it and compared with the package's function.

`@inline("02", "iterate")` marks a comparison: a function of the chapter's function and a generator, which returns what the
chapter's function gives for random inputs, and what the package's gives. A chapter's function that has the name of a public
function of the rooms of mathematics must be compared; one that does another job needs another name.
"""

import pytest
import torch

from minildm.control import bridges, feedback, gradients, hjb, linear_quadratic, sinkhorn
from minildm.control.grid import Grid, solve
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass, TwoWells
from minildm.dynamics.solvers import euler_maruyama, integrate
from minildm.transport import (
    distances,
    energies,
    heads,
    likelihood,
    mass,
    mixtures,
    paths,
    planar,
    time_sampling,
)
from minildm.transport.diffusion import ClosedLoop, ddim
from minildm.transport.schedules import Linear, Tangent

from . import inline_manta, inline_nets, inline_rectification  # noqa: F401, whose comparisons are registered with these
from .inline import PAIRS, functions, inline, lifted, normal, public, uniform
from .notebooks import CHAPTERS, ROOT, number

ROOMS = ("dynamics", "control", "transport")  # the rooms of mathematics
TRIALS = 5


def some_mixture(rng: torch.Generator) -> bridges.Mixture:
    """Three Gaussians in the plane."""
    return bridges.Mixture(
        normal(rng, 3).log_softmax(0), normal(rng, 3, 2), 0.1 + normal(rng, 3) ** 2
    )


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


@inline("01", "credit")
def gradient_by_costates(credit, rng):
    system, plan, start, times = plan_of(rng)
    return credit(system, plan, start, 0.2), gradients.slope(
        gradients.plan_cost(system, start, times, "euler"), plan
    )[1]


@inline("01", "nudge")
def gradient_by_differences(nudge, rng):
    system, plan, start, times = plan_of(rng)
    price = gradients.plan_cost(system, start, times)
    return nudge(price, plan, 1e-4), gradients.differences(price, plan, 1e-4)


@inline("01", "walk")
def descent(walk, rng):
    _, plan, start, times = plan_of(rng)
    price = gradients.plan_cost(DoubleIntegrator(), start, times)
    return walk(price, plan, 0.01, 20)[-1], gradients.descend(price, plan, 0.01, 20).plan


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
    return by_hand(
        system.A, system.B, system.Q, system.R, system.Q1, times
    ), linear_quadratic.riccati(system, times).P


@inline("03", "algebraic_by_hand")
def riccati_at_rest(by_hand, rng):
    system = linear_system(rng)
    return by_hand(system.A, system.B, system.Q, system.R), linear_quadratic.algebraic(system)


@inline("03", "pinned")
def law_to_a_point(pinned, rng):
    y, z, t = *normal(rng, 2, 4, 3, 2), torch.rand(4, generator=rng, dtype=torch.float64)
    return pinned(y, z, t, 0.1), linear_quadratic.pinned_control(y, z, t, 0.1)


@inline("03", "soft")
def law_near_a_point(soft, rng):
    y, z, t = *normal(rng, 2, 4, 3, 2), torch.rand(4, generator=rng, dtype=torch.float64)
    return soft(y, z, t, 3.0), linear_quadratic.soft_terminal_control(y, z, t, 3.0)


@inline("03", "kick_by_hand")
def three_paths(by_hand, rng):
    y, start, push, times = *normal(rng, 3, 4, 2), torch.linspace(0, 0.9, 10, dtype=torch.float64)

    def law(z, t):
        return linear_quadratic.pinned_control(y, z, t)

    kick = feedback.disturb(feedback.transport, law, start, times, (4, push), "euler")
    return by_hand(law, start, times, 4, push), (
        kick.plan.states,
        kick.closed.states[4:],
        kick.replayed.states[4:],
    )


@inline("04", "noisy_path", close=1e-6)  # in float32
def euler_with_noise(noisy_path, rng):
    z, times, g = torch.randn(5, 2, generator=rng), torch.linspace(0, 1, 12), uniform(rng, 0.1, 2)
    path = noisy_path(lambda z, t: -z, z, times, g, torch.Generator().manual_seed(7))
    return path, integrate(
        lambda z, t: -z, z, times, euler_maruyama(g), torch.Generator().manual_seed(7)
    ).states


@inline("04", "bridge_law")
def between_two_points(bridge_law, rng):
    z, y, t, g = *normal(rng, 2, 5, 2), uniform(rng, 0, 0.5), uniform(rng, 0, 2)
    law = bridges.bridge(z, y, t, t + 0.3, g)
    return bridge_law(z, y, t, t + 0.3, g), (law.mean, law.variance)


@inline("04", "sinkhorn_inline", close=1e-6)  # both stop before the limit
def coupling_by_rounds(by_rounds, rng):
    x, y, g = normal(rng, 7, 1), normal(rng, 6, 1), uniform(rng, 0.8, 1.5)
    a, b, cost = normal(rng, 7).softmax(0), normal(rng, 6).softmax(0), sinkhorn.half_squares(x, y)
    return by_rounds(cost, a, b, g, 2000)[0], sinkhorn.sinkhorn(cost, a, b, g**2).coupling


@inline("05", "flow_of_mixture")
def flow_to_a_mixture(flow, rng):
    law, z, t = some_mixture(rng), normal(rng, 6, 2), torch.tensor(uniform(rng, 0, 0.9)).double()
    return flow(law, z, t), mixtures.mixture_velocity(Linear(), law)(z, t)


@inline("05", "score_of_mixture")
def score_of_a_mixture(score, rng):
    law, z, t = some_mixture(rng), normal(rng, 6, 2), torch.tensor(uniform(rng, 0, 0.9)).double()
    return score(law, z, t), mixtures.mixture_score(Linear(), law)(z, t)


@inline("05", "left_over")
def residual_of_a_law(left_over, rng):
    z, t, g = normal(rng, 6), torch.tensor(uniform(rng, 0, 0.9)).double(), uniform(rng, 0, 2)

    def log_p(z, t):
        return -(z**2) * (1 + t) + torch.sin(z)

    def drift(z, t):
        return torch.cos(z) * t

    residual = mass.fokker_planck_residual(lambda z, t: log_p(z[:, 0], t), drift, z[:, None], t, g)
    return left_over(log_p, drift, z, t, g), residual


@inline("05", "largest_gap", close=1e-4)  # in float32
def two_samples(largest_gap, rng):
    x, y = torch.randn(40, generator=rng), 1.3 * torch.randn(70, generator=rng)
    return largest_gap(x, y), distances.kolmogorov_smirnov(x, y)


@inline("05", "nats", close=1e-5)  # in float32
def likelihood_of_a_flow(nats, rng):
    law, times = some_mixture(rng), torch.linspace(0, 1, 21)
    field, z1 = mixtures.mixture_velocity(Linear(), law), law.sample(5, rng).float()
    return nats(field, z1, times), likelihood.log_likelihood(field, z1, times, "midpoint")


@inline("06", "pinned_pair")
def straight_paths(pinned_pair, rng):
    z0, z1, t = *normal(rng, 2, 6, 2), torch.rand(6, generator=rng, dtype=torch.float64)
    sample = paths.sample_path(Linear(), z1, z0, t)
    return pinned_pair(z0, z1, t[:, None]), (sample.zt, sample.velocity)


@inline("06", "mean_control")
def mean_of_pinned_controls(mean_control, rng):
    law, z, t = (
        planar.two_modes(std := uniform(rng, 0.1, 2)),
        normal(rng, 7, 1),
        uniform(rng, 0, 0.95),
    )
    field = mixtures.mixture_velocity(Linear(), law)
    return mean_control(z, t, law.means[:, 0], std), field(z, torch.tensor(t, dtype=torch.float64))


@inline("06", "three_energies", close=0.01)  # by sums over coarse cells
def energies_of_two_modes(three_energies, rng):
    law = planar.two_modes(std := uniform(rng, 0.1, 1.5))
    found = energies.energies(law)
    return three_energies(law, std), (found.conditional, found.marginal, found.optimal)


@inline("06", "bend")
def acceleration_of_a_flow(bend, rng):
    field, z = mixtures.mixture_velocity(Linear(), planar.two_modes(1.0)), normal(rng, 5, 1)
    t = torch.tensor(uniform(rng, 0, 0.9), dtype=torch.float64)
    return bend(field, z, t), energies.acceleration(field, z, t)


@inline("07", "tan_d")
def tangent_schedule(tan_d, rng):
    t, kind = torch.rand(9, generator=rng, dtype=torch.float64), Tangent(uniform(rng, 0.5, 9))
    return tan_d(t, kind.d), (kind.a(t), kind.b(t), kind.da(t), kind.db(t), kind.log_snr(t))


@inline("07", "pair_of")
def data_and_noise(pair_of, rng):
    z, value, kind, t = (
        *normal(rng, 2, 6, 2),
        Tangent(3.0),
        0.1 + 0.8 * torch.rand(6, generator=rng, dtype=torch.float64),
    )
    head, s = heads.HEADS[int(uniform(rng, 0, 4))], t[:, None]
    ours = pair_of(kind.a(s), kind.b(s), kind.da(s), kind.db(s), z, value, head)
    return ours, heads.pair(kind, z, value, t, head)


@inline("07", "carry_over")
def another_schedule(carry_over, rng):
    z, t = normal(rng, 6, 2), 0.1 + 0.8 * torch.rand(6, generator=rng, dtype=torch.float64)
    return carry_over(z, t, Tangent(3.0), Linear()), paths.change_schedule(
        z, t, Tangent(3.0), Linear()
    )


@inline("07", "pool")
def closest_falling_row(pool, rng):
    y, weight = normal(rng, 30), 0.1 + torch.rand(30, generator=rng, dtype=torch.float64)
    ours = torch.tensor(pool(y.tolist(), weight.tolist()), dtype=torch.float64)
    return ours, time_sampling.isotonic_decreasing(y.numpy(), weight.numpy())


@inline("08", "ddim_step")
def data_and_noise_at_the_next_time(ddim_step, rng):
    z, clean, path, t = (
        *normal(rng, 2, 5, 2),
        Tangent(uniform(rng, 1, 4)),
        torch.tensor(uniform(rng, 0.1, 0.5)),
    )
    a, b, a_next, b_next = path.a(t), path.b(t), path.a(t + 0.3), path.b(t + 0.3)
    loop = ClosedLoop(lambda z, t, c: clean, path, z)
    return ddim_step(z, clean, a, b, a_next, b_next), ddim(loop, z, t, t + 0.3)


@pytest.mark.parametrize(("chapter", "name"), PAIRS)
def test_inline_equals_package(chapter, name):
    (path,) = [path for path in CHAPTERS if number(path) == chapter]
    function, (compare, close) = lifted(path)[name], PAIRS[chapter, name]
    for seed in range(TRIALS):
        sides = compare(function, torch.Generator().manual_seed(seed))
        given, wanted = (
            [
                torch.as_tensor(x, dtype=torch.float64)
                for x in (side if isinstance(side, tuple) else (side,))
            ]
            for side in sides
        )
        assert [x.shape for x in given] == [x.shape for x in wanted]
        for x, y in zip(given, wanted):
            assert torch.allclose(x, y, rtol=close, atol=close), (x - y).abs().max()


def test_every_namesake_is_compared():
    known = public(ROOMS, ROOT / "minildm")
    own = {(number(path), name) for path in CHAPTERS for name in functions(path)}
    missing = [
        f"chapter {chapter}: {name} ({known[name]})"
        for chapter, name in sorted(own - PAIRS.keys())
        if name in known
    ]
    assert not missing, "compare these here, or rename them if they do another job: " + "; ".join(
        missing
    )
    assert PAIRS.keys() <= own, f"no chapter writes {sorted(PAIRS.keys() - own)}"
