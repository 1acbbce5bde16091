"""The times and blocks at which a Manta-LM is trained."""

import pytest
import torch

from minildm.evaluation.likelihood import figures_of

from .small import rng
from .tiny_manta import N, manta, texts


def test_next_token_training_comes_first_and_in_part_later():
    model = manta(
        blocks=True,
        next_token_fraction=0.3,
        next_token_steps=10,
        observed_fraction=0.2,
        max_offset=4.0,
    )
    for step, fraction in ((9, 1.0), (10, 0.3)):
        t, block = model.draw_times(4000, N, step, rng())
        moving = block > -torch.inf
        next_token = ((t == 0) | ~moving).all(1) & moving.any(1)
        assert (next_token.sum() / moving.any(1).sum()).item() == pytest.approx(fraction, abs=0.03)
        assert torch.equal(
            block[next_token][moving[next_token]],
            moving.cumsum(1)[next_token][moving[next_token]].float(),
        )


def test_next_token_parts_have_sizes_spread_over_their_logarithm():
    model = manta(blocks=True, next_token_fraction=1.0, block_size=3, observed_fraction=0.3)
    t, block = model.draw_times(8000, 12, 0, rng())
    moving = block > -torch.inf
    assert (t[moving] == 0).all() and (t[~moving] == 1).all()
    rows = [row[m].long() for row, m in zip(block, moving) if m.sum() > 6]
    assert all((row.diff() >= 0).all() and (row.diff() <= 1).all() for row in rows)
    middle = torch.tensor(
        [row.bincount()[row[3]] for row in rows]
    )  # the part of the fourth word, whole behind a part of 3
    fractions = (
        torch.tensor([2.0, 3.0, 4.0]).log().diff(prepend=torch.zeros(1)) / torch.tensor(4.0).log()
    )
    assert torch.allclose(middle.bincount(minlength=4)[1:] / len(middle), fractions, atol=0.02)
    one = torch.tensor([len(row[row == row[0]]) for row in rows])
    assert (one <= 3).all() and (one == 1).float().mean() > fractions[
        0
    ] + 0.1  # the first is cut anywhere


def test_offsets_of_blocks_are_spread_over_their_logarithm():
    t, block = manta(
        blocks=True, max_offset=16.0, observed_fraction=0.0, fully_parallel_fraction=0.25
    ).draw_times(4000, N, 0, rng())
    assert ((0 <= t) & (t < 1)).all() and (block.diff(dim=1) >= 0).all()
    level = (t == t[:, :1]).all(1)
    assert level.float().mean().item() == pytest.approx(0.25, abs=0.03)
    offset = (N - 1) * (block - t)[~level].diff(dim=1).mean(
        1
    )  # block - t = -v rises by L / (N - 1) a position
    for fraction, wanted in ((0.25, 2.0), (0.5, 4.0), (0.75, 8.0)):
        assert offset.quantile(fraction).item() == pytest.approx(wanted, rel=0.15)


def test_a_policy_is_judged_by_the_task_of_its_whole_training():
    """Not by that of its first steps, in which all words are trained from noise."""
    rows = texts(64).numpy()
    first, later = (
        figures_of(manta(blocks=True, max_offset=4.0, next_token_steps=steps), rows)
        for steps in (700, 0)
    )
    assert first == later
