"""The times and windows at which a Manta-LM is trained."""

import pytest
import torch

from minildm.evaluation.likelihood import figures_of

from .small import rng
from .tiny_manta import N, manta, texts


def test_texts_are_told_first_and_some_of_them_later():
    model = manta(
        blocks=True,
        next_token_fraction=0.3,
        next_token_steps=10,
        observed_fraction=0.2,
        max_offset=4.0,
    )
    for step, share in ((9, 1.0), (10, 0.3)):
        t, window = model.draw_times(4000, N, step, rng())
        moving = window > -torch.inf
        told = ((t == 0) | ~moving).all(1) & moving.any(1)
        assert (told.sum() / moving.any(1).sum()).item() == pytest.approx(share, abs=0.03)
        assert torch.equal(window[told][moving[told]], moving.cumsum(1)[told][moving[told]].float())


def test_words_are_told_in_parts_of_sizes_spread_over_their_logarithm():
    model = manta(blocks=True, next_token_fraction=1.0, block_size=3, observed_fraction=0.3)
    t, window = model.draw_times(8000, 12, 0, rng())
    moving = window > -torch.inf
    assert (t[moving] == 0).all() and (t[~moving] == 1).all()
    rows = [row[m].long() for row, m in zip(window, moving) if m.sum() > 6]
    assert all((row.diff() >= 0).all() and (row.diff() <= 1).all() for row in rows)
    middle = torch.tensor(
        [row.bincount()[row[3]] for row in rows]
    )  # the part of the fourth word, whole behind a part of 3
    shares = (
        torch.tensor([2.0, 3.0, 4.0]).log().diff(prepend=torch.zeros(1)) / torch.tensor(4.0).log()
    )
    assert torch.allclose(middle.bincount(minlength=4)[1:] / len(middle), shares, atol=0.02)
    one = torch.tensor([len(row[row == row[0]]) for row in rows])
    assert (one <= 3).all() and (one == 1).float().mean() > shares[
        0
    ] + 0.1  # the first is cut anywhere


def test_lags_of_windows_are_spread_over_their_logarithm():
    t, window = manta(
        blocks=True, max_offset=16.0, observed_fraction=0.0, fully_parallel_fraction=0.25
    ).draw_times(4000, N, 0, rng())
    assert ((0 <= t) & (t < 1)).all() and (window.diff(dim=1) >= 0).all()
    level = (t == t[:, :1]).all(1)
    assert level.float().mean().item() == pytest.approx(0.25, abs=0.03)
    lag = (N - 1) * (window - t)[~level].diff(dim=1).mean(
        1
    )  # window - t = -v rises by L / (N - 1) a position
    for share, wanted in ((0.25, 2.0), (0.5, 4.0), (0.75, 8.0)):
        assert lag.quantile(share).item() == pytest.approx(wanted, rel=0.15)


def test_a_policy_is_judged_by_the_task_of_its_whole_training():
    """Not by that of its first steps, in which all words are told from noise."""
    rows = texts(64).numpy()
    first, later = (
        figures_of(manta(blocks=True, max_offset=4.0, next_token_steps=steps), rows)
        for steps in (700, 0)
    )
    assert first == later
