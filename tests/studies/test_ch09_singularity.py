"""Trajectory singularity: the cost of jumps, of curved paths and of stiff fields, against closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.dynamics.records import Trajectory
from minildm.sampling.relaxed import RelaxedProcess, relaxed
from minildm.studies.ch09_singularity import (
    energy,
    expansion_rates,
    jump_cost,
    speeds,
    steps_to_tolerance,
    straightness,
)
from tests.models.small import rng
from tests.studies.small import gpt, masked


def path(seed: int = 0, times: int = 6, batch: int = 3) -> Trajectory:
    moments = torch.rand(times, generator=rng(seed), dtype=torch.float64).cumsum(0)
    return Trajectory(
        moments, torch.randn(times, batch, 4, 2, generator=rng(seed), dtype=torch.float64)
    )


@pytest.mark.parametrize("steps", [2, 8, 32])
def test_a_jump_costs_more_the_shorter_its_step(steps):
    """A path that rests but for a step of length tau, delta long, costs delta^2 / (2 tau), which grows with the steps."""
    states = torch.zeros(steps + 1, 1, 3, 2, dtype=torch.float64)
    states[1:, 0, 1, 0], states[1:, 0, 2, 1] = 3.0, 4.0  # delta = 5
    jump = Trajectory(torch.linspace(0, 1, steps + 1, dtype=torch.float64), states)
    assert (
        energy(jump).item()
        == pytest.approx(jump_cost(5.0, 1 / steps))
        == pytest.approx(25 * steps / 2)
    )
    assert speeds(jump)[:, 0].tolist() == pytest.approx([5 * steps] + [0] * (steps - 1))


def test_words_jump_so_their_energy_is_words_times_steps():
    """A word jumps sqrt(2) between corners, so each costs 1/tau = S: 7 words in 7 steps of GPT 49, 8 words in 4 steps 32."""
    for model, steps, cost in ((gpt(), 7, 49), (masked(), 4, 32), (masked(), 16, 128)):
        run = relaxed(model, 2, steps, rng()).run()
        assert energy(run).tolist() == pytest.approx([cost] * 2)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_no_path_is_cheaper_than_the_straight_one_and_straightness_is_the_excess(seed):
    p = path(seed)
    span, chord = p.times[-1] - p.times[0], (p.states[-1] - p.states[0]).flatten(1).norm(dim=1)
    floor = jump_cost(chord, span)
    assert (energy(p) >= floor - 1e-9).all()
    assert torch.allclose(straightness(p), 2 * (energy(p) - floor))
    fractions = ((p.times - p.times[0]) / span)[:, None, None, None]
    straight = Trajectory(p.times, p.states[0] + fractions * (p.states[-1] - p.states[0]))
    assert straightness(straight).max() < 1e-9 and torch.allclose(energy(straight), floor)


def test_what_a_state_only_stores_does_not_move():
    p = path()
    assert torch.equal(energy(p, moving=1), energy(Trajectory(p.times, p.states[..., :1])))


def linear_chain(matrix: torch.Tensor, times: torch.Tensor, memory: int = 0) -> RelaxedProcess:
    """Euler steps of dz/dt = A z, with channels behind z that are overwritten by noise of the step."""
    size = len(matrix)

    def step(field, z, t, s, rng=None):
        moved = z[..., :size] + (s - t) * field(z, t)
        return torch.cat((moved, 7 * moved[..., :memory]), dim=-1)

    start = torch.randn(2, 1, size + memory, generator=rng(), dtype=torch.float64)
    never = start.new_full((2, 1), torch.inf)
    return RelaxedProcess(
        lambda z, t: z[..., :size] @ matrix.T, step, start, times, lambda z: z, never, size
    )


@pytest.mark.parametrize("memory", [0, 2])
def test_the_top_rate_of_a_linear_chain_is_that_of_its_matrix(memory):
    matrix = torch.randn(4, 4, generator=rng(3), dtype=torch.float64)
    chain = linear_chain(matrix, torch.linspace(0, 1, 4, dtype=torch.float64), memory)
    rates = expansion_rates(chain, chain.run(), rng(), rounds=300)
    assert rates.shape == (3, 2)
    assert torch.allclose(
        rates, torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1].expand(3, 2), atol=1e-6
    )


def test_hard_words_part_at_the_rate_of_forgetting_or_not_at_all():
    """Off the borders of decision F_k copies or erases, so v_k has rates 0 and -1/tau: the singular part is in the jumps."""
    chain = relaxed(masked(), 2, 4, rng())
    rates = expansion_rates(chain, chain.run(), rng(), rounds=200)
    assert (rates <= 1e-4).all() and (rates[1:] > -1e-2).all()


def test_steps_to_is_the_least_number_from_which_all_are_close():
    far = {1: 2.0, 2: 1.01, 4: 1.2, 8: 1.04, 16: 1.0}
    ends = {steps: torch.full((2, 3), value) for steps, value in far.items()}
    assert (
        steps_to_tolerance(0.05, ends) == 8
        and steps_to_tolerance(0.3, ends) == 2
        and steps_to_tolerance(0.01, ends) is None
    )
