"""The three energies of the two-mode mixture, by quadrature and by sampling, and between them the energies of learned flows."""

import pytest
import torch

from minildm.dynamics.solvers import integrate
from minildm.transport.couplings import coupled, optimal
from minildm.transport.distances import wasserstein_1d
from minildm.transport.energies import energies, energy, flow_energy, straightness
from minildm.transport.fields import SmallField, train_field
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.paths import sample_path
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Linear
from minildm.transport.time_sampling import stratified

TABLE = {0.1: (5.01, 2.82, 1.70), 1.0: (6.00, 2.63, 1.65)}  # conditional, marginal, W_2^2
both = pytest.mark.parametrize("std, published", TABLE.items())


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@both
def test_energies_by_quadrature(std, published):
    found = energies(two_modes(std))
    assert (found.conditional, found.marginal, found.optimal) == pytest.approx(published, rel=0.005)


@both
def test_energies_by_sampling(std, published):
    mixture = two_modes(std)
    count = 200_000
    z1 = mixture.sample(count, rng())
    z0 = torch.randn(count, 1, generator=rng(1), dtype=torch.float64)
    sample = sample_path(Linear(), z1, z0, stratified(count, rng(2)).double())
    marginal = energy(mixture_velocity(Linear(), mixture)(sample.zt, sample.t))
    found = energy(sample.velocity).item(), marginal.item(), wasserstein_1d(z1, z0).item()
    assert found == pytest.approx(published, rel=0.01)
    assert found[0] > found[1] > found[2]


@both
def test_a_flow_spends_the_marginal_energy(std, published):
    """Along the flow itself: its distribution at each time is that of the paths, and straightness is what is above W_2^2."""
    z0 = torch.special.ndtri((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000)[:, None]
    path = integrate(
        mixture_velocity(Linear(), two_modes(std)), z0, torch.linspace(0, 1, 201).double(), "rk4"
    )
    assert flow_energy(path).item() == pytest.approx(published[1], rel=0.01)
    assert straightness(path).item() == pytest.approx(published[1] - published[2], abs=0.03)


def test_energies_of_turning_and_straight_flows():
    """A turn at an even speed w around the origin spends w^2 E |z|^2; a straight one spends no more than its ends demand."""
    z0 = torch.randn(100, 2, generator=rng(), dtype=torch.float64)
    times = torch.linspace(0, 1, 201, dtype=torch.float64)
    turn = integrate(lambda z, t: 2.0 * torch.stack((-z[:, 1], z[:, 0]), dim=1), z0, times, "rk4")
    assert flow_energy(turn).item() == pytest.approx(4 * energy(z0).item(), rel=1e-3)
    straight = integrate(lambda z, t: torch.ones_like(z), z0, times)
    assert (
        flow_energy(straight).item() == pytest.approx(2.0)
        and abs(straightness(straight).item()) < 1e-12
    )


@pytest.mark.slow
def test_a_learned_field_is_between_marginal_and_optimal_after_coupling():
    """Two modes with std 0.1, trained on mini-batch optimal pairs: it costs less than the marginal, not less than W_2^2."""
    mixture = two_modes(0.1)
    z0 = torch.special.ndtri((torch.arange(2000) + 0.5) / 2000)[:, None]
    marginal, least = TABLE[0.1][1:]

    def data(count, rng):
        return mixture.sample(count, rng).float()

    def spent(coupling):
        torch.manual_seed(0)
        field = SmallField(state=1, width=64)
        train_field(field, coupled(data, coupling), rng(), steps=1000, batch=64, rate=5e-3)
        with torch.no_grad():
            return flow_energy(integrate(field, z0, torch.linspace(0, 1, 41), "rk4")).item()

    assert least * 0.99 < spent(optimal) < (marginal + least) / 2
