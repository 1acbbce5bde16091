"""Staggered arrivals: times of positions against the formula, who leaves and arrives when, and known positions."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from minildm.transport.staggering import local_times, staggered_grid


def moving(*flags: int) -> torch.Tensor:
    return torch.tensor([flags], dtype=torch.bool)


def at(t: float, lag: float, who: torch.Tensor) -> list[float]:
    return local_times(torch.tensor([t]), torch.tensor([lag]), who)[0].tolist()


def test_times_by_hand():
    assert at(0.5, 1.0, moving(1, 1, 1)) == [1.0, 0.5, 0.0]
    assert at(0.25, 3.0, moving(1, 1, 1, 1)) == [1.0, 0.0, 0.0, 0.0]
    assert at(0.5, 1.0, moving(1, 0, 1, 0, 1)) == [1.0, 1.0, 0.5, 1.0, 0.0]
    assert at(0.3, 5.0, moving(0, 0)) == [1.0, 1.0]


def test_a_position_that_is_alone_has_no_lag_to_wait_for():
    """Its rank is 0, so it arrives at t = 1 / (1 + L), as the front does."""
    assert at(0.125, 3.0, moving(0, 1, 0)) == [1.0, 0.5, 1.0]


@given(st.floats(0, 1), st.floats(0, 8), st.lists(st.booleans(), min_size=1, max_size=12))
def test_the_front_is_ahead_and_all_begin_and_end_together(t, lag, flags):
    who = moving(*flags)
    tau = local_times(torch.tensor([t]), torch.tensor([lag]), who)
    assert ((0 <= tau) & (tau <= 1)).all() and (tau[~who] == 1).all() and (tau[who].diff() <= 1e-6).all()
    assert not any(at(0.0, lag, who)[i] for i, f in enumerate(flags) if f) and min(at(1.0, lag, who)) > 1 - 1e-6
    assert torch.equal(local_times(torch.tensor([t]), torch.tensor([0.0]), who)[who], torch.full_like(tau[who], t))


def test_each_is_under_way_for_the_same_part_of_the_whole():
    """From L x_i / (1 + L) to (1 + L x_i) / (1 + L); at most one position more than (n - 1) / L travels at a time."""
    n, lag, t = 21, 4.0, torch.linspace(0, 1, 2001)
    tau = local_times(t, torch.full_like(t, lag), torch.ones(len(t), n, dtype=torch.bool))
    for i in range(n):
        under_way = t[(tau[:, i] > 0) & (tau[:, i] < 1)]
        leaves = lag * i / (n - 1) / (1 + lag)
        assert abs(under_way[0] - leaves) < 2e-3 and abs(under_way[-1] - leaves - 1 / (1 + lag)) < 2e-3
    assert ((tau > 0) & (tau < 1)).sum(1).max() <= (n - 1) / lag + 1


def test_each_text_of_a_batch_has_its_own_lag_and_mask():
    who = torch.tensor([[1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    tau = local_times(torch.tensor([0.5, 0.25]), torch.tensor([0.0, 1.0]), who)
    assert tau.tolist() == [[0.5, 0.5, 0.5], [1.0, 0.5, 0.0]]


def test_a_grid_goes_from_its_start_to_one():
    who = torch.tensor([[1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    for start in (0.0, 0.4):
        grid = staggered_grid(5, 2.0, who, start)
        assert grid.shape == (6, 2, 3, 1) and torch.allclose(grid[-1], torch.ones(2, 3, 1))
        assert torch.allclose(grid[0, who], torch.full((5, 1), start)) and (grid[:, ~who] == 1).all()
        assert (grid.diff(dim=0) >= 0).all()
    plain = staggered_grid(5, 0.0, who[:1])[:, 0, :, 0]
    assert torch.equal(plain, torch.linspace(0, 1, 6)[:, None].expand(6, 3))
