"""The trajectory explorer: a value changes the page without a browser; frames stay few."""

import pytest

from minildm import UserError
from minildm.viz.core.frames import FrameStack
from minildm.viz.core.knobs import BUSY
from minildm.viz.trajectory.explorer import LAST
from minildm.viz.trajectory.scenes import PATHS

from .writers import TEXTS, explorer


def test_every_knob_changes_the_page_and_a_run_is_computed_once():
    explored = explorer(size=1)
    live = explored.live()
    moves = {
        "time": LAST // 4,
        "text": 2,
        "moment": 0.25,
        "size": 2,
        "direction": 1,
        "seed": 7,
        "steps": 8,
        "prompt": "fox",
        "solver": "euler",
        "model": "words",
    }
    assert set(moves) == set(explored.knobs)
    for name, value in moves.items():
        before = live.view.value
        live.knobs[name].value = value
        assert live.view.value != before, name
    live.knobs["model"].value = "straight"
    for name, value in explored.start.items():
        live.knobs[name].value = value if name != "time" else live.knobs[name].max
    asked = explored.writers["straight"].asked
    assert len(asked) == len(set(asked)) and ("", "ancestral", 32, 0, 0.5, 1, 0) in asked


def test_only_what_a_model_has_can_be_chosen():
    live = explorer(solver="euler").live()
    assert (
        live.knobs["solver"].options == ("ancestral", "euler")
        and live.knobs["solver"].value == "euler"
    )
    assert not live.knobs["solver"].disabled and not live.knobs["steps"].disabled
    live.knobs["model"].value = "words"
    assert (
        live.knobs["solver"].value == "ancestral"
        and live.knobs["solver"].disabled
        and live.knobs["steps"].disabled
    )


def test_a_prompt_of_unknown_words_is_reported_and_loses_nothing():
    live = explorer().live()
    before = live.view.value
    live.knobs["prompt"].value = "unheard"
    assert (
        live.view.value == before
        and "the word &lt;unheard&gt; is not in the vocabulary" in live.note.value
    )
    live.knobs["prompt"].value = ""
    assert live.view.value == before and live.note.value == ""


def test_slider_and_heading_name_the_same_time():
    """Whatever the steps and the model, and with one stop for each step."""
    live = explorer().live()
    for name, value, steps in (("steps", 8, 8), ("steps", 64, 64), ("model", "words", 64)):
        live.knobs[name].value = value
        time = live.knobs["time"]
        assert time.step == live.play.step == LAST // steps and time.max == live.play.max == LAST
        for index in (1, 5, steps):
            time.value = index * time.step
            assert live.now.value == f"t = {index / steps:.3f}"
            heading = (
                f"<b>{live.knobs['model'].value}, {live.now.value}</b>, step {index} of {steps},"
            )
            assert heading in live.view.value


@pytest.mark.parametrize("steps", [7, 63, 127])
def test_every_step_has_a_stop_of_its_own(steps):
    live = explorer(steps=steps).live()
    shown = []
    for place in (*range(0, LAST, live.knobs["time"].step), LAST):
        live.knobs["time"].value = place
        shown.append(live.now.value)
    assert list(dict.fromkeys(shown)) == [f"t = {k / steps:.3f}" for k in range(steps + 1)]


def test_more_steps_keep_the_time():
    live = explorer().live()
    assert live.now.value == "t = 1.000"
    live.knobs["time"].value = LAST // 4
    live.knobs["steps"].value = 64
    assert live.knobs["time"].value == LAST // 4 and live.now.value == "t = 0.250"


@pytest.mark.parametrize("steps", [8, 64])
def test_a_key_pressed_while_the_new_steps_are_computed_leads_to_its_time(steps):
    """What the browser sends is where the slider stood when it was pressed."""
    live = explorer().live()
    live.knobs["time"].value = 0
    end = live.knobs["time"].max
    live.knobs["steps"].value = steps
    live.knobs["time"].value = end
    assert live.now.value == "t = 1.000"


def test_a_sign_says_that_it_computes():
    """It is there before the state is asked for, and gone afterwards."""
    explored, seen = explorer(), []
    live = explored.live()
    state = explored.state
    explored.state = lambda **knobs: seen.append(live.note.value) or state(**knobs)
    live.knobs["seed"].value = 3
    assert seen == [BUSY] and live.note.value == ""


def test_the_disturbance_has_its_own_group_and_units():
    live = explorer(size=1).live()
    group = live.box.children[2]
    assert group.children[1].children == tuple(
        live.knobs[name] for name in ("moment", "size", "direction")
    )
    assert live.knobs["size"].description == "size (std)" and not live.knobs["moment"].disabled
    live.knobs["model"].value = "words"
    assert live.knobs["size"].description == "size (words)"
    live.knobs["size"].value = 0
    assert (
        live.knobs["moment"].disabled
        and live.knobs["direction"].disabled
        and not live.knobs["size"].disabled
    )


@pytest.mark.parametrize(
    ("size", "names"),
    [
        (0, ["real texts", "other texts", "the text on the right"]),
        (1, ["real texts", "other texts", *PATHS, "disturbance"]),
    ],
)
def test_page_and_figure_have_a_legend(size, names):
    explored = explorer(size=size)
    view, k = explored.view("page")
    names_shown = [text.get_text() for text in explored.figure().legends[0].get_texts()]
    assert all(f"</i>{name}</span>" in view.page(k) and name in names_shown for name in names)
    assert len(names_shown) == len(names) + 1  # the flow, of a model of latents


def test_the_page_tells_whether_the_disturbance_has_come():
    view, _ = explorer().view("page", moment=0.5, size=1)
    assert "not disturbed yet" in view.page(15) and "disturbed at t = 0.50" in view.page(16)
    assert (
        view.page(16).count("<circle") == TEXTS + 3 + 9
        and view.page(15).count("<circle") == TEXTS + 1 + 3
    )
    alone, _ = explorer().view("page")
    assert "disturbed" not in alone.page(16) and alone.page(16).count("<circle") == TEXTS + 1 + 3


@pytest.mark.parametrize("row", ["moment", "model", "text"])
def test_frames_are_pages_from_early_to_late(row):
    made = explorer(size=1)
    rows = made.frames("time", row).stack.children
    assert len(rows) == len(made.knobs[row]) and all(len(one.children) == 21 for one in rows)
    assert "t = 0.000" in rows[0].children[0].value and "t = 1.000" in rows[0].children[-1].value
    if row == "moment":
        assert all(
            f"disturbed at = {moment}" in rows[i].children[0].value
            for i, moment in enumerate((0.25, 0.5, 0.75))
        )
    assert not any("time =" in page.value for page in rows[0].children)  # the heading names it
    with pytest.raises(UserError, match="at most"):
        FrameStack([[""] * 42])


@pytest.mark.parametrize(("size", "texts", "lines"), [(0, 4, TEXTS + 2), (2, 3, TEXTS + 3 * 2 + 1)])
def test_the_figure_has_a_plane_three_curves_and_what_is_said(size, texts, lines):
    figure = explorer().figure(time=0.75, size=size)
    assert len(figure.axes) == 1 + 3 + texts and len(figure.axes[0].lines) == lines
