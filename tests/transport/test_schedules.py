"""Schedules: the published values of tan-3, derivatives, end points, and conversions between heads."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.transport.schedules import (
    Linear,
    Tangent,
    from_diffusion_time,
    interpolate,
    noise_from_clean,
    velocity_from_clean,
)

SCHEDULES = [Linear(), Tangent(3.0), Tangent(1.0), Tangent(9.0)]
GRID = torch.linspace(0, 1, 101, dtype=torch.float64)
inside = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


def test_tan_3_has_the_published_values():
    """alpha^2 at a diffusion paper's times, where 0 is data."""
    s = torch.tensor([0.05, 0.1, 0.25, 0.5, 0.75, 0.9], dtype=torch.float64)
    alpha2 = Tangent(3.0).a(from_diffusion_time(s)) ** 2
    for value, published in zip(alpha2.tolist(), (".947", ".816", ".393", ".100", ".0187", ".0028")):
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
    assert torch.allclose(Tangent(1.0).a(GRID), torch.sin(math.pi / 2 * GRID), atol=1e-12)


def test_tan_d_keeps_variance():
    for d in (0.5, 1.0, 3.0, 9.0):
        assert torch.allclose(Tangent(d).a(GRID) ** 2 + Tangent(d).b(GRID) ** 2, torch.ones(101).double(), atol=1e-12)


@inside
def test_derivatives_equal_autograd(schedule):
    t = GRID.clone().requires_grad_()
    for value, slope in ((schedule.a, schedule.da), (schedule.b, schedule.db)):
        (numeric,) = torch.autograd.grad(value(t).sum(), t)
        assert torch.allclose(slope(GRID)[:-1], numeric[:-1], atol=1e-10)


@inside
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_are_noise_and_data(schedule, dtype):
    start, end = torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype)
    assert (schedule.a(start), schedule.b(start), schedule.a(end)) == (0, 1, 1)
    assert 0 <= schedule.b(end) <= 1e-15


@inside
def test_signal_to_noise_rises(schedule):
    inner = GRID[1:-1]
    assert (schedule.log_snr(inner).diff() > 0).all()
    expected = 2 * torch.log(schedule.a(inner) / schedule.b(inner))
    assert torch.allclose(schedule.log_snr(inner), expected, atol=1e-10)


@inside
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000))
def test_a_true_clean_prediction_gives_back_noise_and_velocity(schedule, seed):
    rng = torch.Generator().manual_seed(seed)
    z1, z0 = torch.randn(2, 4, 3, 2, generator=rng, dtype=torch.float64)
    t = 0.98 * torch.rand(4, generator=rng, dtype=torch.float64)
    zt = interpolate(schedule, z1, z0, t)
    assert torch.allclose(noise_from_clean(schedule, zt, z1, t), z0, atol=1e-9)

    def path(time):
        return interpolate(schedule, z1, z0, time)

    _, slope = torch.autograd.functional.jvp(path, t, torch.ones_like(t))
    assert torch.allclose(velocity_from_clean(schedule, zt, z1, t), slope, atol=1e-8)


def test_the_path_of_flow_matching_is_straight():
    z1, z0 = torch.ones(3, 2), -torch.ones(3, 2)
    t = torch.tensor([0.0, 0.25, 1.0])
    assert torch.equal(interpolate(Linear(), z1, z0, t)[:, 0], torch.tensor([-1.0, -0.5, 1.0]))
    assert torch.allclose(velocity_from_clean(Linear(), z0, z1, torch.zeros(3)), z1 - z0)
