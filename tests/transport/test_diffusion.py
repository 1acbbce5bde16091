"""Sampling steps against exact answers: point masses and Gaussian data, where the best prediction is known."""

import math

import pytest
import torch

from minildm.dynamics.solvers import integrate
from minildm.errors import UserError
from minildm.transport.diffusion import SAMPLERS, ClosedLoop, ancestral, ddim, sampler
from minildm.transport.schedules import Linear, Tangent

SCHEDULE = Tangent(3.0)
MEAN, STD = 1.5, 0.4  # of the Gaussian data


def time(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def grid(steps: int) -> torch.Tensor:
    return torch.linspace(0, 1, steps + 1, dtype=torch.float64)


def noise(*shape, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def best(schedule):
    """E[z_1 | z_t] for Gaussian data."""

    def predict(z, t, c):
        a = schedule.a(t)[:, None]
        b = schedule.b(t)[:, None]
        return MEAN + a * STD**2 * (z - a * MEAN) / (a**2 * STD**2 + b**2)

    return predict


def point(z, t, c):
    return torch.full_like(z, MEAN)


@pytest.mark.parametrize("schedule", [Linear(), SCHEDULE], ids=str)
@pytest.mark.parametrize("name", ["ddim", "multistep", "ancestral"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_steps_are_exact_for_a_point_mass_at_any_number_of_steps(schedule, name, steps):
    z0 = noise(4, 3)
    path = integrate(
        ClosedLoop(point, schedule, z0),
        z0,
        grid(steps),
        sampler(name),
        torch.Generator().manual_seed(0),
    )
    assert torch.allclose(path.states[-1], torch.full_like(z0, MEAN), atol=1e-12)
    if name != "ancestral":
        for t, z in zip(path.times, path.states):
            assert torch.allclose(z, schedule.a(t) * MEAN + schedule.b(t) * z0, atol=1e-12)


def conditioned(t, s, zt: float, z1: float) -> tuple[float, float]:
    """Distribution of z_s given z_t and z_1 by conditioning the joint Gaussian of (z_s, z_t) given z_1.

    z_s = a_s z_1 + b_s e; z_t = (a_t/a_s) z_s + independent noise, so that z_t has variance b_t^2.
    """
    a, b, a_s, b_s = (
        x.item() for x in (SCHEDULE.a(t), SCHEDULE.b(t), SCHEDULE.a(s), SCHEDULE.b(s))
    )
    mean = torch.tensor([a_s * z1, a * z1], dtype=torch.float64)
    cross = a / a_s * b_s**2
    covariance = torch.tensor([[b_s**2, cross], [cross, b**2]], dtype=torch.float64)
    gain = covariance[0, 1] / covariance[1, 1]
    return (mean[0] + gain * (zt - mean[1])).item(), (
        covariance[0, 0] - gain * covariance[1, 0]
    ).item()


@pytest.mark.parametrize("t, s", [(0.0, 0.3), (0.2, 0.4), (0.5, 0.51), (0.6, 0.95), (0.9, 1.0)])
def test_ancestral_step_draws_from_the_conditional_distribution(t, s):
    count = 200_000
    zt = 0.7
    z1 = -0.3
    loop = ClosedLoop(lambda z, t, c: torch.full_like(z, z1), SCHEDULE, torch.zeros(count, 1))
    draws = ancestral(
        loop,
        torch.full((count, 1), zt).double(),
        time(t),
        time(s),
        torch.Generator().manual_seed(0),
    )
    mean, variance = conditioned(time(t), time(s), zt, z1)
    assert draws.mean().item() == pytest.approx(mean, abs=5 * (variance / count) ** 0.5 + 1e-6)
    assert draws.var().item() == pytest.approx(variance, rel=5 * (2 / count) ** 0.5, abs=1e-12)


def test_temperature_multiplies_the_width_of_an_ancestral_step():
    z, loop = (
        torch.full((1000, 1), 0.7),
        ClosedLoop(lambda z, t, c: torch.full_like(z, -0.3), SCHEDULE, torch.zeros(1000, 1)),
    )
    none, some, full = (
        sampler("ancestral", temperature)(
            loop, z, time(0.2), time(0.4), torch.Generator().manual_seed(0)
        )
        for temperature in (0.0, 0.4, 1.0)
    )
    assert (
        torch.allclose(some - none, 0.4 * (full - none), atol=1e-6)
        and (none == none[0]).all()
        and full.std() > 0
    )


@pytest.mark.parametrize(
    "name, steps",
    [("ddim", 300), ("multistep", 100), ("ancestral", 1200), ("euler", 300), ("heun", 100)],
)
def test_gaussian_data_are_reached(name, steps):
    """Each sampler, with many steps, carries noise to the data's mean and standard deviation.

    Ancestral steps leave out what is unknown of z_1, so their spread is short by a fraction of order 1/steps.
    """
    z0 = noise(20_000, 1)
    path = integrate(
        ClosedLoop(best(SCHEDULE), SCHEDULE, z0),
        z0,
        grid(steps),
        sampler(name),
        torch.Generator().manual_seed(1),
        record=False,
    )
    end = path.states[-1]
    assert end.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert end.std().item() == pytest.approx(STD, rel=0.03)


def test_ancestral_marginals_on_the_way():
    """At each time the distribution is that of the path, a MEAN + N(0, a^2 STD^2 + b^2), up to the steps' error."""
    z0 = noise(20_000, 1)
    path = integrate(
        ClosedLoop(best(SCHEDULE), SCHEDULE, z0),
        z0,
        grid(200),
        ancestral,
        torch.Generator().manual_seed(2),
    )
    for k in (50, 100, 150, 180):
        a = SCHEDULE.a(path.times[k])
        b = SCHEDULE.b(path.times[k])
        assert path.states[k].mean().item() == pytest.approx(a.item() * MEAN, abs=0.03)
        assert path.states[k].std().item() == pytest.approx(
            (a**2 * STD**2 + b**2).sqrt().item(), rel=0.03
        )


def test_ddim_and_the_solvers_have_one_limit():
    """For Gaussian data the flow keeps the quantile: (z_1 - MEAN)/STD = z_0."""
    z0 = noise(50, 1)
    exact = MEAN + STD * z0
    for name in ("ddim", "multistep", "euler", "heun"):
        errors = []
        for steps in (50, 100, 200):
            path = integrate(
                ClosedLoop(best(SCHEDULE), SCHEDULE, z0),
                z0,
                grid(steps),
                sampler(name),
                record=False,
            )
            errors.append((path.states[-1] - exact).abs().max().item())
        assert errors[2] < errors[1] < errors[0] and errors[2] < 0.05


def test_multistep_has_order_two_at_the_cost_of_ddim():
    """At equal steps of log(a/b) its error falls by four when the steps are halved, that of DDIM by two."""
    z = noise(6, 1)
    start, end = (SCHEDULE.log_snr(time(t)) for t in (0.2, 0.9))

    def exact(t):
        a = SCHEDULE.a(t)
        b = SCHEDULE.b(t)
        return a * MEAN + (a**2 * STD**2 + b**2).sqrt() * z

    def error(name, steps):
        times = SCHEDULE.from_log_snr(torch.linspace(start, end, steps + 1, dtype=torch.float64))
        loop = ClosedLoop(best(SCHEDULE), SCHEDULE, z)
        path = integrate(loop, exact(times[0]), times, sampler(name))
        assert loop.nfe == steps
        return (path.states[-1] - exact(times[-1])).abs().max().item()

    orders = {name: math.log2(error(name, 64) / error(name, 128)) for name in ("ddim", "multistep")}
    assert orders["ddim"] == pytest.approx(1, abs=0.1)
    assert orders["multistep"] == pytest.approx(2, abs=0.15)


def test_multistep_forgets_what_was_seen_after_the_time_it_goes_back_to():
    z0 = noise(4, 2)
    loop = ClosedLoop(best(SCHEDULE), SCHEDULE, z0)
    first = integrate(loop, z0, grid(6), sampler("multistep")).states
    loop.rewind(grid(6)[3])
    again = integrate(loop, first[3], grid(6)[3:], sampler("multistep")).states
    assert torch.equal(again, first[3:])


def test_a_step_of_ddim_is_a_step_of_euler_to_first_order():
    z = noise(6, 2)
    loop = ClosedLoop(best(SCHEDULE), SCHEDULE, z)
    gaps = []
    for h in (0.02, 0.01, 0.005):
        t = time(0.5)
        s = time(0.5 + h)
        gaps.append((ddim(loop, z, t, s) - (z + h * loop(z, t))).abs().max().item())
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.1) and gaps[1] / gaps[2] == pytest.approx(
        4, rel=0.1
    )


def test_a_closed_loop_feeds_back_its_prediction_and_counts():
    conditions = []

    def predict(z, t, c):
        assert t.shape == (3,)
        conditions.append(c.clone())
        return z + len(conditions)

    z0 = noise(3, 2)
    loop = ClosedLoop(predict, SCHEDULE, z0)
    path = integrate(loop, z0, grid(4), ddim)
    assert loop.nfe == 4 and torch.equal(conditions[0], torch.zeros_like(z0))
    for k in range(3):
        assert torch.equal(conditions[k + 1], path.states[k] + k + 1)
    assert list(loop.seen) == grid(4)[:-1].tolist()


@pytest.mark.parametrize(
    "name, nfe", [("ddim", 6), ("multistep", 6), ("ancestral", 6), ("euler", 6), ("heun", 11)]
)
def test_evaluations_of_each_sampler(name, nfe):
    z0 = noise(2, 2)
    loop = ClosedLoop(point, SCHEDULE, z0)
    integrate(loop, z0, grid(6), sampler(name), torch.Generator().manual_seed(0))
    assert loop.nfe == nfe


def test_what_is_kept_is_the_prediction_at_the_recorded_state():
    """Heun also evaluates ahead, at a state that is not on the path; that prediction is not what is kept."""
    z0 = noise(4, 1)
    predict = best(SCHEDULE)
    loop = ClosedLoop(predict, SCHEDULE, z0)
    path = integrate(loop, z0, grid(5), sampler("heun"))
    for t, z in zip(path.times[:-1], path.states):
        assert torch.equal(loop.seen[float(t)], predict(z, t.expand(4), None))


def test_unknown_samplers_are_refused():
    with pytest.raises(UserError, match="no sampler 'rk9': choose one of " + ", ".join(SAMPLERS)):
        sampler("rk9")
