"""Planted errors: marks of words, what the frames and the live view show, and that each control changes the picture."""

import pytest

from minildm.viz.chapters.ch09 import (
    EMPTY,
    MARKS,
    OTHER,
    PLANTED,
    REPAIRED,
    REPLACED,
    SAME,
    PlantedErrors,
    Planting,
    changed,
    marks,
)
from minildm.viz.core import style


def planting(model: str, position: int = 1, time: float = 0.5) -> Planting:
    """Three moments: the planted word stands, is repaired, is replaced."""
    right = [["a", "b", "<mask>", "<pad>"], ["a", "b", "<mask>", "<pad>"], ["a", "b", "c", "<pad>"]]
    wrong = [["a", "x", "<mask>", "<pad>"], ["a", "b", "d", "<pad>"], ["a", "y", "c", "e"]]
    return Planting(model, position, "x", time, [time, (1 + time) / 2, 1.0], right, wrong)


@pytest.fixture
def errors() -> PlantedErrors:
    many = [planting(m, i, t) for m in ("LDLM", "masked") for i in (1, 2) for t in (0.25, 0.5)]
    return PlantedErrors([*many, planting("GPT", 1, 0.1), planting("GPT", 2, 0.2)])


def test_marks_tell_what_became_of_each_word():
    assert marks(planting("LDLM")).tolist() == [
        [SAME, PLANTED, EMPTY, SAME],
        [SAME, REPAIRED, OTHER, SAME],
        [SAME, REPLACED, SAME, OTHER],
    ]
    assert changed(planting("LDLM")).tolist() == [0, 1, 1]


def test_padding_behind_both_texts_is_not_shown():
    short = Planting(
        "m",
        0,
        "x",
        0.0,
        [0.0, 1.0],
        [["a", "b", "<pad>", "<pad>"]] * 2,
        [["x", "<pad>", "<pad>", "<pad>"]] * 2,
    )
    assert short.length == 2 and marks(short).tolist() == [[PLANTED, OTHER]] * 2


def test_a_page_marks_the_planted_word_and_what_it_changed(errors):
    page = errors.page(errors.at("LDLM", 1, 0.5), 0.5)
    assert (
        "t = 0.75: it is repaired, 1 other changed" in page
        and 'class="m4">b</i>' in page
        and 'class="m2">d</i>' in page
    )
    assert "now t = 0.75" in page and "&lt;" not in page
    assert "<u>_</u>" in errors.page(errors.at("LDLM", 1, 0.5), 0.0)


def test_a_model_with_one_time_ignores_the_time(errors):
    assert errors.at("GPT", 2, 0.5).time == 0.2 and errors.at("masked", 2, 0.26).time == 0.25
    assert errors.times == [0.25, 0.5] and errors.positions == [1, 2]


def test_frames_are_models_and_times_by_moments(errors):
    frames = errors.frames(1, (0.25, 0.5), moments=3)
    assert len(frames.stack.children) == 5 and all(
        len(row.children) == 3 for row in frames.stack.children
    )
    assert frames.stack.children[4].children[2].value == errors.page(errors.at("GPT", 1, 0.5), 1.0)


def test_every_control_changes_the_live_picture(errors):
    live = errors.live()
    seen = [live.view.value]
    for knob, value in ((live.way, 1), (live.time, 0.5), (live.position, 2), (live.model, "GPT")):
        knob.value = value
        seen.append(live.view.value)
    assert len(set(seen)) == 5 and live.time.disabled
    live.model.value = "masked"
    assert not live.time.disabled


def test_the_figure_has_a_map_for_each_model(errors):
    style.use()
    axes = errors.figure(1, 0.5).axes
    assert [axis.get_title(loc="left").split(",")[0] for axis in axes] == errors.models
    assert axes[0].images[0].get_array().shape == (3, 4) and axes[0].images[0].get_clim() == (
        -0.5,
        len(MARKS) - 0.5,
    )
