"""A receding horizon of noise levels: what its positions go through, and what training sees of it."""

import pytest
import torch

from minildm.errors import UserError
from minildm.transport.horizon import excess_variance, horizon_grid, training_levels

N = 40
ALL = torch.ones(1, N, dtype=torch.bool)


def levels(horizon: int, refinements: int) -> torch.Tensor:
    """(evaluations + 1, positions)."""
    return horizon_grid(horizon, refinements, ALL)[:, 0]


@pytest.mark.parametrize(
    "horizon, refinements", [(1, 1), (8, 4), (8, 8), (16, 4), (N, 32), (64, 16)]
)
def test_each_position_is_refined_as_often_as_announced(horizon, refinements):
    v = levels(horizon, refinements)
    assert (v[0] == 0).all() and (v[-1] == 1).all()
    moves = v.diff(dim=0)
    assert ((moves > 0).sum(0) - refinements).abs().max() <= 1
    assert moves.max() <= 1 / refinements + 1e-6 and moves.min() >= 0
    assert (moves > 0).any(1).all()  # no evaluation for nothing


@pytest.mark.parametrize("horizon, refinements", [(1, 1), (8, 4), (16, 4), (N, 32), (64, 16)])
def test_the_number_of_evaluations_is_as_announced(horizon, refinements):
    found = len(levels(horizon, refinements)) - 1
    assert found <= refinements * N / horizon + refinements
    assert found >= refinements * (N - 1) / horizon + refinements - 1


def test_no_more_positions_are_under_way_than_the_horizon_and_the_first_are_ahead():
    v = levels(8, 8)
    assert ((v > 0) & (v < 1)).sum(1).max() == 7  # and one that begins or ends
    assert (v.diff(dim=1) <= 0).all()


def test_the_limits_are_token_by_token_and_nearly_parallel():
    one = levels(1, 1)
    assert torch.equal(one, torch.ones(N + 1, N).tril(-1))
    wide = levels(1000 * N, 20)
    assert (wide[:, 0] - wide[:, -1]).max() < 2e-3


def test_observed_positions_stay_and_are_not_counted():
    moving = ALL.clone()
    moving[0, 5:25] = False
    v = horizon_grid(8, 4, moving)[:, 0]
    assert (v[:, 5:25] == 1).all()
    assert torch.equal(v[:, moving[0]], horizon_grid(8, 4, ALL[:, :20])[:, 0])
    assert len(horizon_grid(8, 4, ~ALL)) == 1


@pytest.mark.parametrize("horizon, refinements", [(0, 1), (4, 0)])
def test_less_than_one_position_or_refinement_is_refused(horizon, refinements):
    with pytest.raises(UserError, match="at least 1 of both"):
        horizon_grid(horizon, refinements, ALL)


def test_levels_of_training_are_flat_or_fall_off_as_on_their_way():
    v = training_levels(4000, N, 0.25, (8.0, 64.0), torch.Generator().manual_seed(0))
    flat = (v[:, :1] == v).all(1) & (v[:, 0] > 0) & (v[:, 0] < 1)
    assert flat.float().mean() == pytest.approx(0.25, abs=0.03)
    assert (v.diff(dim=1) <= 0).all()
    inside = (v > 0) & (v < 1)
    both = inside[:, 1:] & inside[:, :-1] & ~flat[:, None]
    slopes = -v.diff(dim=1)[both]
    assert 1 / 64 - 1e-5 <= slopes.min() < 1 / 50 and 1 / 12 < slopes.max() <= 1 / 8 + 1e-5
    assert v[inside].mean() == pytest.approx(0.5, abs=0.02)


def test_the_excess_variance_of_a_disturbance_is_seen_in_latents_under_way_alone():
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(3, 64, 32, generator=rng)
    moving = torch.rand(3, 64, generator=rng) < 0.7
    assert not excess_variance(z, moving).any()
    push = 0.8 * torch.randn(z.shape, generator=rng)
    pushed = z + push * moving[..., None]
    found = excess_variance(pushed, moving)
    assert found.shape == (3, 1, 1) and found == pytest.approx(0.64, abs=0.12)
    assert not excess_variance(z + push * ~moving[..., None], moving).any()
    assert not excess_variance(pushed, torch.zeros_like(moving)).any()
