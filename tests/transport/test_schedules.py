"""Schedules: the published values of tan-3, derivatives, log-SNR there and back, and end points."""

import math

import pytest
import torch

from minildm.transport.schedules import Cosine, Schedule, Tangent, from_diffusion_time

SCHEDULES = [*(each() for each in Schedule.__subclasses__()), Tangent(1.0), Tangent(9.0)]
GRID = torch.linspace(0, 1, 101, dtype=torch.float64)
inside = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


def test_tan_3_has_the_published_values():
    """alpha^2 at a diffusion paper's times, where 0 is data."""
    s = torch.tensor([0.05, 0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)
    alpha2 = Tangent(3.0).a(from_diffusion_time(s)) ** 2
    for value, published in zip(
        alpha2.tolist(), (".947", ".816", ".393", ".100", ".0187", ".0028")
    ):
        assert value == pytest.approx(float(published), abs=0.5 * 10 ** -(len(published) - 1))


def test_tan_d_is_the_family_of_the_papers():
    """alpha = (1 + d^2 tan^2(pi s/2))^(-1/2), sigma = d tan(pi s/2) alpha, at their time s."""
    s = GRID[1:-1]
    tangent = torch.tan(math.pi * s / 2)
    for d in (1.0, 3.0, 9.0):
        alpha = (1 + d**2 * tangent**2) ** -0.5
        t = from_diffusion_time(s)
        assert torch.allclose(Tangent(d).a(t), alpha, atol=1e-12)
        assert torch.allclose(Tangent(d).b(t), d * tangent * alpha, atol=1e-12)
        assert torch.allclose(Tangent(d).log_snr(t), -2 * torch.log(d * tangent), atol=1e-9)


def test_d_is_noise_to_signal_in_the_middle_and_1_is_the_cosine_schedule():
    half = torch.tensor(0.5, dtype=torch.float64)
    for d in (1.0, 3.0, 5.0):
        assert (Tangent(d).b(half) / Tangent(d).a(half)).item() == pytest.approx(d)
    for name in ("a", "b", "da", "db"):
        assert torch.allclose(
            getattr(Tangent(1.0), name)(GRID), getattr(Cosine(), name)(GRID), atol=1e-12
        )


def test_tan_d_keeps_variance():
    for d in (0.5, 1.0, 3.0, 9.0):
        assert torch.allclose(
            Tangent(d).a(GRID) ** 2 + Tangent(d).b(GRID) ** 2, torch.ones(101).double(), atol=1e-12
        )


@inside
def test_derivatives_equal_autograd(schedule):
    t = GRID.clone().requires_grad_()
    for value, slope in ((schedule.a, schedule.da), (schedule.b, schedule.db)):
        (numeric,) = torch.autograd.grad(value(t).sum(), t)
        assert torch.allclose(slope(GRID)[:-1], numeric[:-1], atol=1e-10)


@inside
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_are_noise_and_data(schedule, dtype):
    start = torch.zeros((), dtype=dtype)
    end = torch.ones((), dtype=dtype)
    assert (schedule.a(start), schedule.b(start), schedule.a(end)) == (0, 1, 1)
    assert 0 <= schedule.b(end) <= 1e-15


@inside
def test_signal_to_noise_rises(schedule):
    inner = GRID[1:-1]
    assert (schedule.log_snr(inner).diff() > 0).all()
    expected = 2 * torch.log(schedule.a(inner) / schedule.b(inner))
    assert torch.allclose(schedule.log_snr(inner), expected, atol=1e-10)


@inside
def test_log_snr_has_its_slope_and_its_inverse(schedule):
    t = GRID[1:-1].clone().requires_grad_()
    (numeric,) = torch.autograd.grad(schedule.log_snr(t).sum(), t)
    assert torch.allclose(schedule.log_snr_slope(GRID[1:-1]), numeric, rtol=1e-9)
    assert torch.allclose(
        schedule.from_log_snr(schedule.log_snr(GRID[1:-1])), GRID[1:-1], atol=1e-12
    )
    ends = torch.tensor([-math.inf, math.inf], dtype=torch.float64)
    assert schedule.from_log_snr(ends).tolist() == [0, 1]


@inside
def test_the_velocity_of_a_pair_is_the_slope_of_its_path(schedule):
    z1, z0 = torch.randn(2, 101, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = schedule.da(GRID) * z1 + schedule.db(GRID) * z0
    assert torch.allclose(schedule.velocity(z1, z0, GRID), expected, atol=1e-14)


@inside
def test_the_noise_rate_is_that_of_the_forward_equation(schedule):
    """g^2 = b^2 lambda'; for tan-d the published beta(s) = pi d^2 tan (1 + tan^2)/(1 + d^2 tan^2); none is left at t = 1."""
    t = GRID[1:-1]
    assert torch.allclose(
        schedule.noise_rate(t), schedule.b(t) ** 2 * schedule.log_snr_slope(t), rtol=1e-9
    )
    assert (
        schedule.noise_rate(torch.ones(())).abs() < 1e-6
        and schedule.noise_rate(torch.zeros(())).isinf()
    )
    if isinstance(schedule, Tangent):
        d2 = schedule.d**2
        tangent = torch.tan(math.pi / 2 * from_diffusion_time(t))
        beta = math.pi * d2 * tangent * (1 + tangent**2) / (1 + d2 * tangent**2)
        assert torch.allclose(schedule.noise_rate(t), beta, rtol=1e-9)
