"""Paths: their points and velocities, and the field that the flow-matching loss prefers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.control.linear_quadratic import pinned_control
from minildm.transport.paths import change_schedule, flow_matching_loss, interpolate, sample_path
from minildm.transport.schedules import Cosine, Linear, Tangent

every = pytest.mark.parametrize("schedule", [Linear(), Cosine(), Tangent(3.0)], ids=str)


def draw(seed: int, *shape: int):
    rng = torch.Generator().manual_seed(seed)
    z1, z0 = torch.randn(2, *shape, generator=rng, dtype=torch.float64)
    return z1, z0, torch.rand(shape[0], generator=rng, dtype=torch.float64)


@every
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_the_velocity_is_the_derivative_of_the_point(schedule, seed):
    z1, z0, t = draw(seed, 4, 3, 2)
    sample = sample_path(schedule, z1, z0, t)
    point, slope = torch.autograd.functional.jvp(
        lambda t: interpolate(schedule, z1, z0, t), t, torch.ones_like(t)
    )
    assert torch.equal(sample.zt, point) and torch.allclose(sample.velocity, slope, atol=1e-9)
    assert sample.z1 is z1 and sample.z0 is z0 and sample.t is t


@every
def test_a_path_goes_from_its_noise_to_its_data(schedule):
    z1, z0, _ = draw(0, 5, 2)
    assert torch.equal(sample_path(schedule, z1, z0, torch.zeros(5).double()).zt, z0)
    assert torch.allclose(sample_path(schedule, z1, z0, torch.ones(5).double()).zt, z1, atol=1e-15)


def test_the_path_of_flow_matching_is_straight():
    z1 = torch.ones(3, 2)
    z0 = -torch.ones(3, 2)
    sample = sample_path(Linear(), z1, z0, torch.tensor([0.0, 0.25, 1.0]))
    assert torch.equal(sample.zt[:, 0], torch.tensor([-1.0, -0.5, 1.0]))
    assert torch.equal(sample.velocity, z1 - z0)


def test_the_velocity_of_a_straight_path_is_the_pinned_control():
    """u = z_1 - z_0 = (z_1 - z_t)/(1 - t), for every pair and time."""
    z1, z0, t = draw(1, 100, 3)
    sample = sample_path(Linear(), z1, z0, t)
    assert torch.allclose(sample.velocity, pinned_control(z1, sample.zt, t), rtol=1e-9)


@every
def test_the_posterior_mean_has_the_least_loss(schedule):
    """For data of two points the mean of u given z_t has a closed form; the loss of a shifted field exceeds its loss by the shift^2."""
    rng = torch.Generator().manual_seed(0)
    count = 50_000
    z1 = torch.randint(0, 2, (count, 1), generator=rng).double() * 2 - 1
    z0 = torch.randn(count, 1, generator=rng, dtype=torch.float64)
    t = torch.rand(count, generator=rng).double() * 0.9
    sample = sample_path(schedule, z1, z0, t)

    def best(z, t):
        a = schedule.a(t)[:, None]
        b = schedule.b(t)[:, None]
        denoised = torch.tanh(a * z / b**2)
        return schedule.velocity(denoised, (z - a * denoised) / b, t[:, None])

    least = flow_matching_loss(best, sample)
    for shift in (-0.3, 0.3):
        more = flow_matching_loss(lambda z, t, shift=shift: best(z, t) + shift, sample) - least
        assert more.item() == pytest.approx(shift**2, abs=0.03)
        scaled = flow_matching_loss(lambda z, t, shift=shift: best(z, t) * (1 + shift), sample)
        assert scaled > least


@every
@pytest.mark.parametrize("target", [Linear(), Cosine(), Tangent(9.0)], ids=str)
def test_a_path_on_another_schedule_is_the_same_path(schedule, target):
    """A point of one path, rescaled, is the point of the other path of the same pair at the time of equal log-SNR."""
    z1, z0, t = draw(3, 40, 2)
    t[:2] = torch.tensor([0.0, 1.0])
    z, other = change_schedule(interpolate(schedule, z1, z0, t), t, schedule, target)
    assert torch.allclose(z, interpolate(target, z1, z0, other), atol=1e-9)
    assert other[0] == 0 and other[1].item() == pytest.approx(1, abs=1e-12)
    back, again = change_schedule(z, other, target, schedule)
    assert torch.allclose(back, interpolate(schedule, z1, z0, t), atol=1e-9) and torch.allclose(
        again, t, atol=1e-9
    )
