"""A receding horizon of noise levels: what its positions go through, and how blocks imitate it."""

import pytest
import torch

from minildm.errors import UserError
from minildm.transport.horizon import horizon_levels, training_horizon

N = 40


def levels(horizon: int, refinements: int) -> torch.Tensor:
    """(calls, positions), until all have arrived."""
    rows = [horizon_levels(0, horizon, refinements, torch.arange(N))]
    while rows[-1].min() < 1:
        rows.append(horizon_levels(len(rows), horizon, refinements, torch.arange(N)))
    return torch.stack(rows)


@pytest.mark.parametrize("horizon, refinements", [(1, 1), (8, 4), (8, 8), (16, 4), (N, 32)])
def test_each_position_is_refined_as_often_as_announced(horizon, refinements):
    v = levels(horizon, refinements)
    under_way = ((v > 0) & (v < 1)).sum(0)
    assert (under_way - refinements).abs().max() <= 1
    moves = v.diff(dim=0)
    assert moves.max() <= 1 / refinements + 1e-6
    assert (moves >= 0).all()


@pytest.mark.parametrize("horizon, refinements", [(1, 1), (8, 4), (16, 4)])
def test_the_nfe_is_as_announced(horizon, refinements):
    assert len(levels(horizon, refinements)) - 1 <= refinements * (N / horizon + 1) + 1


def test_no_more_positions_are_under_way_than_the_horizon():
    v = levels(8, 4)
    assert ((v > 0) & (v < 1)).sum(1).max() == 8
    assert (v.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("horizon, refinements", [(0, 1), (4, 0)])
def test_less_than_one_position_or_refinement_is_refused(horizon, refinements):
    with pytest.raises(UserError, match="at least 1 of both"):
        horizon_levels(0, horizon, refinements, torch.arange(3))


def test_blocks_of_training_fall_off_like_a_horizon():
    for seed in range(20):
        rng = torch.Generator().manual_seed(seed)
        v, block, second = training_horizon(300, N, 24, rng)
        assert v.min() >= 0 and v.max() <= 1
        assert (v.diff(dim=1)[:, block.diff() == 0] <= 0).all()
        assert second == int((block == 0).sum()) or second >= N
        if int((block == 1).sum()) >= 8:
            assert 0.03 < (v.max(1).values < 1e-2).float().mean() < 0.2
