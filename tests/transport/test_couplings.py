"""Couplings: the assignment against all permutations, marginals that stay, costs that fall, flows that get straight."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.dynamics.solvers import integrate
from minildm.errors import UserError
from minildm.transport.couplings import assign, coupled, independent, optimal, reflow
from minildm.transport.energies import energy, flow_energy, straightness
from minildm.transport.fields import SmallField, train_field
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.planar import two_modes, two_moons
from minildm.transport.schedules import Linear


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = rng(seed)
    return torch.randn(count, 2, generator=random), two_moons(count, random)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(0, 1000), st.booleans())
def test_no_permutation_is_cheaper(n, seed, ties):
    random = np.random.default_rng(seed)
    cost = random.integers(0, 4, (n, n)).astype(float) if ties else random.normal(size=(n, n))
    found = assign(cost)
    assert sorted(found) == list(range(n))
    best = min(sum(cost[i, j] for i, j in enumerate(columns)) for columns in permutations(range(n)))
    assert cost[np.arange(n), found].sum() == pytest.approx(best, abs=1e-9)


def test_on_the_line_the_best_pairing_keeps_the_order():
    z0, z1 = torch.randn(2, 50, 1, generator=rng())
    z0, z1 = optimal(z0, z1)
    assert (z0[z1[:, 0].argsort()].diff(dim=0) >= 0).all()


def test_the_best_pairing_moves_noise_only_and_costs_least():
    z0, z1 = clouds(256)
    paired, same = optimal(z0, z1)
    assert same is z1 and torch.equal(paired.sort(dim=0).values, z0.sort(dim=0).values)
    assert energy(z1 - paired) < energy(z1 - independent(z0, z1)[0])


def test_pairs_of_one_rng_are_the_same():
    draw = coupled(two_moons, optimal)
    for a, b in zip(draw(32, rng(1)), draw(32, rng(1))):
        assert torch.equal(a, b) and a.shape == (32, 2)


def test_reflow_pairs_are_the_ends_of_the_flow():
    """On the line, flows keep the order, so reflow already gives the best pairing, at the cost W_2^2."""
    field = mixture_velocity(Linear(), two_modes(0.5))
    times = torch.linspace(0, 1, 41, dtype=torch.float64)
    z0 = torch.randn(4000, 1, generator=rng(), dtype=torch.float64)
    x, y = reflow(field, z0, times)(500, rng(1))
    assert torch.allclose(integrate(field, x, times, "rk4").states[-1], y)
    assert (x[y[:, 0].argsort()].diff(dim=0) >= 0).all()
    path = integrate(field, z0, times, "rk4")
    assert (
        energy(path.states[-1] - z0)
        < flow_energy(path)
        < energy(two_modes(0.5).sample(4000, rng(2)) - z0)
    )


@pytest.mark.slow
def test_coupling_and_reflow_straighten_learned_flows():
    """Flows of two moons: independent pairs curve most; minibatch transport and one reflow curve far less."""
    times = torch.linspace(0, 1, 21)
    z0 = torch.randn(1000, 2, generator=rng(9))

    def learn(pairs):
        torch.manual_seed(0)
        field = SmallField(width=64)
        train_field(field, pairs, rng(), steps=300, batch=64)
        with torch.no_grad():
            return field, straightness(integrate(field, z0, times, "rk4")).item()

    field, plain = learn(coupled(two_moons))
    _, paired = learn(coupled(two_moons, optimal))
    _, again = learn(reflow(field, torch.randn(4000, 2, generator=rng(5)), times))
    assert paired < plain / 3 and again < plain / 3


@pytest.mark.parametrize("coupling", [independent, optimal])
@pytest.mark.parametrize(
    ("noise", "data"), [((50, 2), (60, 2)), ((60, 2), (50, 2)), ((4, 2), (4, 3)), ((0, 2), (3, 2))]
)
def test_clouds_of_unequal_size_are_refused_by_name(coupling, noise, data):
    with pytest.raises(UserError) as refused:
        coupling(torch.zeros(noise), torch.zeros(data), rng())
    assert str(noise) in str(refused.value) and str(data) in str(refused.value)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_points_that_are_no_numbers_are_refused(wrong):
    z0, z1 = clouds(8)
    z0[3, 1] = wrong
    with pytest.raises(UserError, match="finite"):
        optimal(z0, z1, rng())
