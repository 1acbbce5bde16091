"""Steps of the straight path that renew part of the noise: from Euler to the ancestral step."""

import pytest
import torch

from minildm.dynamics.solvers import euler
from minildm.errors import UserError
from minildm.transport.diffusion import ClosedLoop, ancestral, straight_step
from minildm.transport.schedules import Linear


def time(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def noise(*shape: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def velocity_to(denoised):
    """The velocity of the straight path to a data prediction."""
    return lambda z, t: (denoised(z) - z) / (1 - t)


def test_no_renewed_noise_is_euler():
    assert straight_step(0.0) is euler
    z = noise(4, 3)
    field = velocity_to(lambda z: z.sin())
    t = time(0.3)
    s = time(0.45)
    small = straight_step(1e-9)(field, z, t, s, torch.Generator().manual_seed(0))
    assert torch.allclose(small, euler(field, z, t, s), atol=1e-8)


@pytest.mark.parametrize("t, s", [(0.0, 0.25), (0.2, 0.4), (0.5, 0.51), (0.6, 0.95), (0.9, 1.0)])
def test_all_noise_renewed_is_the_ancestral_step_of_the_straight_path(t, s):
    z = noise(5, 3).float()
    loop = ClosedLoop(lambda z, t, c: z.sin(), Linear(), z)
    t = torch.tensor(t)
    s = torch.tensor(s)
    wanted = ancestral(loop, z, t, s, torch.Generator().manual_seed(1))
    found = straight_step(1.0)(velocity_to(torch.sin), z, t, s, torch.Generator().manual_seed(1))
    assert torch.allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7, 1.0])
def test_the_noise_keeps_its_size_whatever_part_of_it_is_new(eta):
    """With the true velocity z_1 - z_0 the distribution of z_s is that of the path, N(s z_1, (1 - s)^2); the old noise fades as r^2."""
    count = 200_000
    z1 = 0.8
    t = time(0.3)
    s = time(0.6)
    z0 = noise(count, 1)
    rng = torch.Generator().manual_seed(2)
    draws = straight_step(eta)(lambda z, t: z1 - z0, t * z1 + (1 - t) * z0, t, s, rng) - s * z1
    assert draws.mean().item() == pytest.approx(0, abs=5 * 0.4 / count**0.5)
    assert draws.std().item() == pytest.approx(0.4, rel=5 / (2 * count) ** 0.5)
    r = 0.3 * 0.4 / (0.6 * 0.7)
    kept = (1 - eta**2 * (1 - r**2)) ** 0.5
    assert torch.corrcoef(torch.cat((draws, z0), 1).T)[0, 1].item() == pytest.approx(
        kept, abs=5 / count**0.5
    )


def test_positions_with_times_of_their_own_and_those_that_stand_still():
    z = noise(2, 4, 3)
    field = velocity_to(lambda z: z.sin())
    t = torch.tensor([[0.0, 0.2, 0.5, 0.999], [0.0, 0.7, 0.0, 0.3]], dtype=torch.float64)[..., None]
    s = torch.tensor([[0.0, 0.4, 0.5, 1.0], [0.5, 0.7, 0.0, 0.31]], dtype=torch.float64)[..., None]
    for eta in (0.0, 0.5, 1.0):
        step = straight_step(eta)
        whole = step(field, z, t, s, torch.Generator().manual_seed(0))
        still = (t == s).squeeze(-1)
        assert torch.allclose(whole[still], z[still]) and torch.isfinite(whole).all()
        assert (whole - z)[~still].abs().amax(-1).min() > 1e-4
        xi = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
        for b in range(2):
            for i in range(4):
                one = one_position(eta, field, z[b, i], t[b, i], s[b, i], xi[b, i])
                assert torch.allclose(whole[b, i], one)


def one_position(eta, field, z, t, s, xi):
    """The formula of a step for one position."""
    u = field(z, t)
    z1 = z + (1 - t) * u
    z0 = z - t * u
    r = t * (1 - s) / (s * (1 - t)) if s > t else torch.ones(())
    v = (eta * (1 - s)) ** 2 * (1 - r**2)
    return s * z1 + ((1 - s) ** 2 - v).sqrt() * z0 + v.sqrt() * xi


def test_a_position_that_has_arrived_needs_no_velocity():
    z = noise(2, 3, 1)
    one = torch.ones(2, 3, 1, dtype=torch.float64)
    for eta in (0.0, 1.0):
        assert torch.equal(
            straight_step(eta)(lambda z, t: torch.zeros_like(z), z, one, one, torch.Generator()),
            z,
        )


@pytest.mark.parametrize("eta", [-0.1, 1.1])
def test_eta_is_between_zero_and_one(eta):
    with pytest.raises(UserError, match="an eta of"):
        straight_step(eta)
