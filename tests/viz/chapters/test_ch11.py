"""The explorer of chapter 11: its two numbers in closed form, what it refuses, and that each knob changes the picture."""

import numpy as np
import pytest
import torch

from minildm import UserError
from minildm.viz.chapters.ch11 import effective_count, explorer, mean_reach, show
from minildm.viz.core import style
from minildm.viz.core.knobs import pixels

TIMES, WORDS = [0.0, 0.5, 1.0], list("abcdef")


@pytest.fixture
def kernels() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return (3 * torch.randn(2, 3, 2, 6, 6, generator=rng)).softmax(-1)


def test_words_in_use_and_their_distance_in_closed_form():
    n = 6
    uniform, copy, next_word = torch.full((n, n), 1 / n), torch.eye(n), torch.eye(n).roll(1, dims=1)
    both = torch.stack((uniform, copy, next_word))
    assert torch.allclose(effective_count(both), torch.tensor([6.0, 1.0, 1.0]))
    # a uniform row: the mean distance of two places is (n^2 - 1)/(3n); the next word, but for the last that attends to the first
    assert torch.allclose(mean_reach(both), torch.tensor([35 / 18, 0.0, (5 + 5) / 6]))


def test_a_picture_is_one_head_at_the_nearest_time(kernels):
    shown = show(kernels, TIMES, WORDS, 2, 1, 0.6)
    assert (
        torch.equal(shown.kernel, kernels[1, 1, 0])
        and shown.chosen == 1
        and shown.words == tuple(WORDS)
    )
    assert torch.allclose(
        shown.count, torch.stack([effective_count(kernels[1, k, 0]) for k in range(3)])
    )
    assert torch.allclose(
        shown.reach, torch.stack([mean_reach(kernels[1, k, 0]) for k in range(3)])
    )


def test_rows_of_padding_are_left_out(kernels):
    shown = show(kernels, TIMES, WORDS[:4], 1, 2, 1.0)
    assert torch.equal(shown.kernel, kernels[0, 2, 1, :4])
    assert torch.allclose(shown.count[2], effective_count(kernels[0, 2, 1, :4]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"times": [0.0]}, "3 times"),
        ({"words": list("abcdefg")}, "6 positions"),
        ({"block": 3}, "block 3"),
        ({"head": 0}, "head 0"),
    ],
)
def test_what_does_not_fit_is_refused(kernels, change, said):
    with pytest.raises(UserError, match=said):
        show(
            kernels,
            **{"times": TIMES, "words": WORDS, "block": 1, "head": 1, "time": 0.0, **change},
        )


def test_the_picture_holds_the_kernel_and_its_numbers(kernels):
    style.use()
    left, right = explorer(kernels, TIMES, WORDS).figure(block=2, head=2, time=1.0).axes
    assert torch.allclose(
        torch.as_tensor(np.asarray(left.images[0].get_array())) ** 2, kernels[1, 2, 1], atol=1e-6
    )
    assert [text.get_text() for text in left.get_yticklabels()] == WORDS
    assert np.allclose(right.lines[0].get_ydata(), effective_count(kernels[1, :, 1]))


def test_every_knob_changes_the_picture(kernels):
    style.use()
    shown = explorer(kernels, TIMES, WORDS)
    first = pixels(shown.figure(), 40)
    for name, values in shown.knobs.items():
        assert not np.array_equal(first, pixels(shown.figure(**{name: values[1]}), 40)), name
    with pytest.raises(UserError):
        shown.figure(block=9)


def test_frames_and_live_show_the_same_knobs(kernels):
    style.use()
    shown = explorer(kernels, TIMES, WORDS)
    frames = shown.frames("time", "block", head=1)
    assert len(frames.stack.children) == 2 and all(
        len(row.children) == 3 for row in frames.stack.children
    )
    live = shown.live()
    before = live.view.value
    live.knobs["time"].value = 1.0
    assert live.view.value != before
