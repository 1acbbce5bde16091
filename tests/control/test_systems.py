"""The systems by their formulas, and what nature keeps: a pendulum without friction and motor keeps its energy."""

import math

import pytest
import torch

from minildm.control.feedback import rollout
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass, squares

SYSTEMS = {
    "point mass": PointMass(state=3, effort=0.5, weight=4.0, target=-1.0),
    "double integrator": DoubleIntegrator(effort=0.5, running_weight=2.0, weight=4.0),
    "pendulum": Pendulum(effort=0.5, weight=4.0, damping=0.3),
}
every_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
T = torch.tensor(0.3, dtype=torch.float64)


def draw(system, batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, system.state, generator=rng, dtype=torch.float64),
        torch.randn(batch, system.control, generator=rng, dtype=torch.float64),
    )


def test_squares_are_half_a_squared_length():
    x = torch.tensor([[3.0, 4.0], [0.0, -1.0]])
    assert squares(x).tolist() == [12.5, 0.5]


def test_point_mass_by_its_formulas():
    system = SYSTEMS["point mass"]
    z, u = draw(system, 5)
    assert system.control == 3 and torch.equal(system.plant(z, u, T), u)
    for b in range(5):
        assert system.running(z, u, T)[b].item() == pytest.approx(
            0.25 * sum(x * x for x in u[b].tolist())
        )
        assert system.terminal(z)[b].item() == pytest.approx(
            2.0 * sum((x + 1) ** 2 for x in z[b].tolist())
        )


def test_double_integrator_by_its_formulas():
    system = SYSTEMS["double integrator"]
    z, u = draw(system, 5)
    for (q, v), (a,), dz, spent, end in zip(
        z.tolist(),
        u.tolist(),
        system.plant(z, u, T).tolist(),
        system.running(z, u, T).tolist(),
        system.terminal(z).tolist(),
    ):
        assert dz == [v, a]
        assert spent == pytest.approx(q * q + v * v + 0.25 * a * a) and end == pytest.approx(
            2.0 * (q * q + v * v)
        )


def test_pendulum_by_its_formulas():
    system = SYSTEMS["pendulum"]
    z, u = draw(system, 5)
    for (q, v), (a,), dz, spent, end in zip(
        z.tolist(),
        u.tolist(),
        system.plant(z, u, T).tolist(),
        system.running(z, u, T).tolist(),
        system.terminal(z).tolist(),
    ):
        assert dz == pytest.approx([v, a - math.sin(q) - 0.3 * v])
        assert spent == pytest.approx(0.25 * a * a) and end == pytest.approx(
            2.0 * (2 * (1 + math.cos(q)) + v * v)
        )


def test_the_best_end_of_a_pendulum_is_upright_at_rest():
    system = SYSTEMS["pendulum"]
    upright = torch.tensor([[math.pi, 0.0], [-3 * math.pi, 0.0]], dtype=torch.float64)
    assert torch.allclose(system.terminal(upright), torch.zeros(2, dtype=torch.float64))
    assert (system.terminal(draw(system, 100)[0]) > 0).all()


def energy(z: torch.Tensor) -> torch.Tensor:
    return z[..., 1] ** 2 / 2 - torch.cos(z[..., 0])


def test_a_free_pendulum_keeps_its_energy_and_a_damped_one_loses_it():
    start = torch.tensor([[0.5, 0.0], [2.0, -1.0], [0.0, 2.5]], dtype=torch.float64)
    times = torch.linspace(0, 10, 1001, dtype=torch.float64)

    def swing(damping: float) -> torch.Tensor:
        return energy(
            rollout(
                Pendulum(damping=damping).plant, lambda z, t: z.new_zeros(len(z), 1), start, times
            ).path.states
        )

    kept, lost = swing(0.0), swing(0.2)
    assert torch.allclose(kept, kept[0].expand_as(kept), atol=1e-8)
    assert (lost.diff(dim=0) < 1e-12).all() and (lost[-1] < lost[0] - 0.1).all()


@every_system
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_any_batch_and_each_row_by_itself(system, batch):
    z, u = draw(system, batch)
    velocity, spent, end = system.plant(z, u, T), system.running(z, u, T), system.terminal(z)
    assert velocity.shape == (batch, system.state) and spent.shape == end.shape == (batch,)
    for b in range(batch):
        assert torch.allclose(system.plant(z[b : b + 1], u[b : b + 1], T), velocity[b : b + 1])
        assert torch.allclose(system.terminal(z[b : b + 1]), end[b : b + 1])
