"""Plans: shooting, transcription and Riccati agree where all three apply; two of them swing a pendulum up alike."""

import math

import pytest
import torch

from minildm.control.adjoint import adjoint_by_autograd, hamiltonian
from minildm.control.feedback import Rollout, cost, replay, rollout
from minildm.control.hjb import best_control
from minildm.control.linear_quadratic import LinearQuadratic, linearize
from minildm.control.planning import extremal, shoot, transcribe
from minildm.control.riccati import riccati
from minildm.control.systems import DoubleIntegrator, Pendulum
from minildm.dynamics.records import Trajectory
from minildm.errors import UserError

UP = Pendulum()
REST = torch.zeros(2, dtype=torch.float64)


def grid(steps: int, end: float) -> torch.Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def straight(times: torch.Tensor, start: torch.Tensor, end: torch.Tensor) -> Rollout:
    """A guess: the straight line between two states, and no control."""
    fraction = ((times - times[0]) / (times[-1] - times[0]))[:, None, None]
    return Rollout(
        Trajectory(times, start + fraction * (end - start)),
        torch.zeros(len(times) - 1, 1, 1).double(),
    )


def cart() -> LinearQuadratic:
    return linearize(DoubleIntegrator(running_weight=1.0), REST, torch.zeros(1).double())


def test_shooting_transcription_and_riccati_agree_on_a_linear_plant():
    """(03.13) too, the KKT conditions: states, controls and costates within 1e-4, costates being multipliers and P z."""
    system, start = cart(), torch.tensor([0.5, 0.25]).double()
    coarse, fine = grid(40, 2.0), grid(320, 2.0)
    shot = shoot(system, start, coarse, torch.zeros(2).double())
    plan = transcribe(system, straight(fine, start, REST))
    solution = riccati(system, fine)
    assert shot.steps == 1 and plan.steps == 2  # the second step finds nothing left to do
    states, every = shot.run.path.states, slice(None, None, 8)
    slopes = (solution.P[every, None] @ states[..., None])[..., 0]
    assert (shot.costates - slopes).abs().max() < 1e-6
    assert (plan.run.path.states[every] - states).abs().max() < 1e-4
    assert (plan.costates[every] - slopes).abs().max() < 1e-4
    middles = (fine[:-1] + fine[1:]) / 2
    feedback = torch.stack(
        [
            solution.policy(z, t)
            for z, t in zip((plan.run.path.states[:-1] + plan.run.path.states[1:]) / 2, middles)
        ]
    )
    assert (plan.run.controls - feedback).abs().max() < 1e-4
    value = solution.value(start[None], 0.0)
    assert abs(cost(system, plan.run) - value) < 1e-4
    open_loop = rollout(system.plant, replay(shot.run.controls, coarse), start[None], coarse)
    assert abs(cost(system, open_loop) - value) < 1e-2 * value


def test_multipliers_are_the_costates_of_the_rollout():
    """(03.13): a transcribed plan rolls out to its own states, its multipliers are dJ/dz_k, and dJ/du_k = 0."""
    times = grid(30, 4.0)
    plan = transcribe(UP, straight(times, REST, torch.tensor([math.pi, 0.0]).double()))
    again = rollout(UP.plant, replay(plan.run.controls, times), REST[None], times)
    assert torch.allclose(again.path.states, plan.run.path.states, atol=1e-7)
    found = adjoint_by_autograd(UP, again)
    assert torch.allclose(found.costates, plan.costates, atol=1e-6)
    assert found.gradient.abs().max() < 1e-6


def test_a_swing_up_costs_the_same_by_both():
    """Transcription from a straight line and shooting from a costate: one local optimum, 1e-4, at step zero by order 2."""
    upright = torch.tensor([-math.pi, 0.0]).double()
    plans = [transcribe(UP, straight(grid(steps, 4.0), REST, upright)) for steps in (50, 100)]
    costs, costates = zip(*((cost(UP, plan.run).item(), plan.costates[0, 0]) for plan in plans))
    times = grid(40, 4.0)
    shot = shoot(UP, REST, times, torch.tensor([-0.9, 0.9]).double())
    z, p = shot.run.path.states[:, 0], shot.costates[:, 0]
    u = best_control(UP, z, p, times[0])
    simpson = torch.tensor([1.0, *[4.0, 2.0] * 19, 4.0, 1.0]).double() * times[1] / 3
    spent = (simpson * UP.running(z, u, times[0])).sum() + UP.terminal(z[-1:])
    assert spent.item() == pytest.approx((4 * costs[1] - costs[0]) / 3, abs=1e-4)
    assert torch.allclose(p[0], (4 * costates[1] - costates[0]) / 3, atol=1e-4)
    assert z[-1, 0].item() == pytest.approx(-math.pi, abs=0.15)


def test_the_hamiltonian_is_conserved_along_an_extremal():
    """The system does not depend on time, so H is constant; and dH/du = 0 at the best control."""
    z, p = torch.tensor([[0.3, -0.2]]).double(), torch.tensor([[0.5, 1.0]]).double()
    still = Pendulum(damping=0.0)
    z, p = extremal(still, z, p, grid(60, 3.0)).squeeze(1).chunk(2, dim=-1)
    u = best_control(still, z, p, torch.zeros(()))
    H = hamiltonian(still, z, u, p, torch.zeros(()))
    assert torch.allclose(u, -p[:, 1:])
    assert (H - H[0]).abs().max() < 1e-6


def test_methods_that_do_not_arrive_say_so():
    with pytest.raises(UserError, match="begin nearer to the costate"):
        shoot(UP, REST, grid(8, 4.0), torch.tensor([-3.0, 3.0]).double(), max_steps=1)
    with pytest.raises(UserError, match="begin nearer to a path"):
        transcribe(
            UP, straight(grid(8, 4.0), REST, torch.tensor([math.pi, 0.0]).double()), max_steps=2
        )


@pytest.mark.parametrize("effort", [0.0, math.nan])
def test_shooting_without_a_cost_of_control_is_refused_in_one_sentence(effort):
    times = torch.linspace(0, 1, 6, dtype=torch.float64)
    with pytest.raises(UserError, match="let every control have a cost"):
        shoot(DoubleIntegrator(effort=effort), REST, times, torch.zeros(2).double(), max_steps=2)
