"""Noise levels of positions against the formula, when each begins and ends, observed positions, and attention masks."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from minildm.transport.noise_levels import (
    attention_mask,
    block_order,
    blocks,
    gaps,
    noise_levels,
    offset_grid,
)


def moving(*flags: int) -> torch.Tensor:
    return torch.tensor([flags], dtype=torch.bool)


def at(t: float, offset: float, who: torch.Tensor) -> list[float]:
    return noise_levels(torch.tensor([t]), torch.tensor([offset]), who)[0].tolist()


def test_times_by_hand():
    assert at(0.5, 1.0, moving(1, 1, 1)) == [1.0, 0.5, 0.0]
    assert at(0.25, 3.0, moving(1, 1, 1, 1)) == [1.0, 0.0, 0.0, 0.0]
    assert at(0.5, 1.0, moving(1, 0, 1, 0, 1)) == [1.0, 1.0, 0.5, 1.0, 0.0]
    assert at(0.3, 5.0, moving(0, 0)) == [1.0, 1.0]


def test_a_position_that_is_alone_does_not_wait():
    """Its rank is 0, so it arrives at t = 1 / (1 + L), as the front does."""
    assert at(0.125, 3.0, moving(0, 1, 0)) == [1.0, 0.5, 1.0]


@given(st.floats(0, 1), st.floats(0, 8), st.lists(st.booleans(), min_size=1, max_size=12))
def test_the_first_position_is_never_noisier_and_all_begin_and_end_at_one_time(t, offset, flags):
    who = moving(*flags)
    tau = noise_levels(torch.tensor([t]), torch.tensor([offset]), who)
    assert (
        ((0 <= tau) & (tau <= 1)).all()
        and (tau[~who] == 1).all()
        and (tau[who].diff() <= 1e-6).all()
    )
    assert (
        not any(at(0.0, offset, who)[i] for i, f in enumerate(flags) if f)
        and min(at(1.0, offset, who)) > 1 - 1e-6
    )
    assert torch.equal(
        noise_levels(torch.tensor([t]), torch.tensor([0.0]), who)[who], torch.full_like(tau[who], t)
    )


def test_each_is_under_way_for_the_same_part_of_the_whole():
    """From L x_i / (1 + L) to (1 + L x_i) / (1 + L); at most one position more than (n - 1) / L travels at a time."""
    n = 21
    offset = 4.0
    t = torch.linspace(0, 1, 2001)
    tau = noise_levels(t, torch.full_like(t, offset), torch.ones(len(t), n, dtype=torch.bool))
    for i in range(n):
        under_way = t[(tau[:, i] > 0) & (tau[:, i] < 1)]
        begins = offset * i / (n - 1) / (1 + offset)
        assert (
            abs(under_way[0] - begins) < 2e-3
            and abs(under_way[-1] - begins - 1 / (1 + offset)) < 2e-3
        )
    assert ((tau > 0) & (tau < 1)).sum(1).max() <= (n - 1) / offset + 1


def test_each_text_of_a_batch_has_its_own_offset_and_mask():
    who = torch.tensor([[1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    tau = noise_levels(torch.tensor([0.5, 0.25]), torch.tensor([0.0, 1.0]), who)
    assert tau.tolist() == [[0.5, 0.5, 0.5], [1.0, 0.5, 0.0]]


@given(st.floats(0, 1), st.floats(0, 8), st.lists(st.booleans(), min_size=1, max_size=12))
def test_blocks_are_what_moves_at_later_times(t, offset, flags):
    """Block k at time t is what moves at t + k / (1 + L), at the same times."""
    who = moving(*flags)
    at_t = torch.tensor([t], dtype=torch.float64)
    offsets = torch.tensor([offset], dtype=torch.float64)
    tau, block = blocks(at_t, offsets, who)
    assert (
        (tau[~who] == 1).all()
        and (block[~who] == -torch.inf).all()
        and (block[who].diff() >= 0).all()
    )
    for k in block[who].unique():
        later = noise_levels(at_t + k / (1 + offset), offsets, who)
        assert torch.allclose(later[block == k], tau[block == k], atol=1e-9)
        assert (later[who & (block < k)] > 1 - 1e-9).all() and (later[block > k] < 1e-9).all()


def test_blocks_by_hand():
    tau, block = blocks(torch.tensor([0.25]), torch.tensor([3.0]), moving(1, 1, 0, 1, 1))
    assert torch.allclose(tau, torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]]))
    assert block.tolist() == [[-1.0, 0.0, -torch.inf, 1.0, 2.0]]


def test_the_attention_mask_by_hand():
    """Two tokens, two positions under way in one block, one that has not begun: a text as generation reads it."""
    t = torch.tensor([[1.0, 1.0, 0.7, 0.2, 0.0]])
    mask = attention_mask(t, (t < 1).float(), torch.arange(5))[0].int().tolist()
    assert mask == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]


def test_an_observed_token_is_read_from_both_sides_and_reads_no_token_that_is_to_be_decoded():
    """Four positions in two blocks, the third observed, as training reads them: tokens first, then noise."""
    block = torch.tensor([[0.0, 1.0, -torch.inf, 1.0, 0.0, 1.0, torch.inf, 1.0]])
    t = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 1.0, 0.4]])
    mask = attention_mask(t, block, torch.arange(4).repeat(2))[0]
    rows = [row.nonzero()[:, 0].tolist() for row in mask]
    assert rows[0] == [0] and rows[1] == [0, 1] and rows[2] == [2] and rows[3] == [0, 1, 2, 3]
    assert rows[4] == [2, 4] and rows[5] == [0, 2, 5, 7] and rows[7] == [0, 2, 5, 7]
    assert mask[:, 6].nonzero()[:, 0].tolist() == [6]  # no row reads the copy of the observed token


def test_how_many_words_before_it_a_position_is_masked_from():
    """Two tokens, one observed behind a gap, three to be decoded: in generation, and in training beside the text."""
    t = torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0, 0.0]])
    observed = torch.tensor([[False] * 4 + [True, False]])
    block = block_order(t, observed)
    assert block.tolist() == [[0.0, 0.0, 1.0, 1.0, -torch.inf, 1.0]]
    positions = torch.arange(6)
    assert gaps(t, attention_mask(t, block, positions), positions).tolist() == [[0, 0, 0, 1, 4, 2]]
    assert gaps(t, attention_mask(t, block, positions, 3), positions).tolist() == [[1, 4, 2]]
    order = torch.tensor([[0.0, 1.0, 2.0, 2.0, -torch.inf, 2.0]])
    beside = torch.cat((order, order.masked_fill(observed, torch.inf)), 1)
    twice = positions.repeat(2)
    times = torch.cat((torch.ones(1, 6), torch.zeros(1, 6).masked_fill(observed, 1.0)), 1)
    rows = gaps(times, attention_mask(times, beside, twice), twice)[0]
    assert rows[[0, 1, 4]].tolist() == [0, 0, 4] and rows[[6, 7, 8, 9, 11]].tolist() == [
        0,
        0,
        0,
        1,
        2,
    ]


def test_a_grid_goes_from_its_start_to_one():
    who = torch.tensor([[1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    for start in (0.0, 0.4):
        grid = offset_grid(5, 2.0, who, start)
        assert grid.shape == (6, 2, 3, 1) and torch.allclose(grid[-1], torch.ones(2, 3, 1))
        assert (
            torch.allclose(grid[0, who], torch.full((5, 1), start)) and (grid[:, ~who] == 1).all()
        )
        assert (grid.diff(dim=0) >= 0).all()
    plain = offset_grid(5, 0.0, who[:1])[:, 0, :, 0]
    assert torch.equal(plain, torch.linspace(0, 1, 6)[:, None].expand(6, 3))
