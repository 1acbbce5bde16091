"""Explorers of two functions: the state is computed once a key, and figure, frames and live show the same picture."""

import base64
import io
import re
from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from minildm import UserError
from minildm.viz.core.figures import panels
from minildm.viz.core.frames import INTERVAL, MOST_FRAMES, Sheet
from minildm.viz.core.knobs import DPI, Explorer, Layout, label, pixels

ALT = 'A line of "slope" weight & height bias.'
KNOBS = {"weight": [1.0, 2.0, 0.1 + 0.2], "bias": [0, 1], "side": ["left", "right"]}


def draw(state):
    """Two panels: a line, and a square in its height's color."""
    weight, bias, side = state
    figure, axes = panels(2)
    axes[0].plot([0, 1], [bias, bias + weight])
    axes[0].set_ylim(-1, 4)
    axes[1].imshow([[weight]], vmin=0, vmax=2, origin="lower" if side == "left" else "upper")
    axes[1].set_title(side)
    return figure


def explorer(log=None):
    def state(weight, bias, side):
        if log is not None:
            log.append((weight, bias, side))
        return weight, bias, side

    return Explorer(state, draw, KNOBS, ALT)


def image(html: str) -> np.ndarray:
    """The picture inside a piece of HTML."""
    data = re.search(r"data:image/\w+;base64,([\w+/=]+)", html)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(float)


def style_of(stack) -> str:
    """The style that the frames of a stack share."""
    return stack.box.children[1].value


def test_a_state_is_computed_once():
    log = []
    shown = explorer(log)
    shown.at()
    shown.at(bias=0)
    shown.figure(weight=1.0)
    live = shown.live()
    live.knobs["weight"].value = 2.0
    live.knobs["weight"].value = 1.0
    shown.frames("weight", columns=[1.0, 2.0])
    assert log == [(1.0, 0, "left"), (2.0, 0, "left")]


def test_others_stand_where_they_start():
    assert explorer().at(side="right") == (1.0, 0, "right")


def test_a_value_is_known_by_how_it_reads():
    assert explorer().at(weight=0.3) == explorer().at(weight=0.1 + 0.2) == (0.1 + 0.2, 0, "left")
    assert label(0.1 + 0.2) == "0.3" and label(3) == "3" and label("left") == "left"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"weight": 7.0}, "weight cannot be 7: choose among 1, 2, 0.3"),
        ({"side": "up"}, "side cannot be up: choose among left, right"),
        ({"speed": 1}, "there is no knob 'speed': choose among weight, bias, side"),
    ],
)
def test_what_a_knob_cannot_be_is_refused(values, sentence):
    for use in (
        explorer().at,
        explorer().figure,
        lambda **fixed: explorer().frames("bias", **fixed),
    ):
        with pytest.raises(UserError) as refused:
            use(**values)
        assert str(refused.value) == sentence


def test_every_knob_changes_the_picture():
    live = explorer().live()
    assert list(live.knobs) == list(KNOBS)
    for name, knob in live.knobs.items():
        for value in KNOBS[name][1:]:
            before = live.view.value
            knob.value = value
            assert live.view.value != before, name


def test_a_slider_has_its_numbers_in_order_and_starts_at_the_first_listed():
    live = explorer().live()
    assert [name for name, _ in live.knobs["weight"].options] == ["0.3", "1", "2"]
    assert [name for name, _ in live.knobs["side"].options] == ["left", "right"]
    assert live.knobs["weight"].value == 1.0


def test_live_frames_and_figure_agree():
    """The three ways to show a state differ by their palettes only."""
    shown = explorer()
    live = shown.live()
    live.knobs["weight"].value, live.knobs["side"].value = 2.0, "right"
    still = pixels(shown.figure(weight=2.0, side="right"), DPI)[..., :3].astype(float)
    other, frame = np.split(
        image(style_of(shown.frames("weight", side="right", columns=[1.0, 2.0]))), 2
    )
    assert np.abs(image(live.view.value) - still).mean() < 2 and np.abs(frame - still).mean() < 2
    assert np.abs(other - still).mean() > 6


def test_a_sheet_shows_each_picture_at_its_place():
    """A percentage p of the position moves a background of n heights by p (n - 1) heights: the k-th picture is at k."""
    pictures = [np.full((3, 5, 4), shade, dtype=np.uint8) for shade in (0, 80, 160, 240)]
    sheet = Sheet(pictures, ALT)
    places = [
        float(re.search(r"position:0 ([\d.]+)%", sheet.svg(k))[1]) / 100 * (4 - 1) for k in range(4)
    ]
    assert (
        places == pytest.approx([0, 1, 2, 3], abs=1e-4) and "background-size:100% 400%" in sheet.css
    )
    assert [int(part[0, 0, 0]) for part in np.split(image(sheet.css), 4)] == [0, 80, 160, 240]
    assert (
        'viewBox="0 0 5 3"' in sheet.svg(2)
        and sheet.name in sheet.svg(2)
        and f".{sheet.name}{{" in sheet.css
    )


def test_fine_frames_are_cheap():
    """Two rows of 21 pictures add less than 200 KB to a chapter, and a frame stays for a tenth of a second."""
    shown = Explorer(
        lambda weight, side: (weight, 0, side),
        draw,
        {"weight": [0.0, 2.0], "side": ["left", "right"]},
        ALT,
        between=["weight"],
    )
    stack = shown.frames("weight", "side", columns=np.linspace(0, 2, 21))
    pages = [frame.value for row in stack.stack.children for frame in row.children]
    assert len(set(pages)) == 42 and len(style_of(stack)) + sum(map(len, pages)) < 200_000
    assert stack.play.interval == INTERVAL == 100


def test_only_named_knobs_take_numbers_between_their_values():
    shown = Explorer(
        lambda weight, bias: (weight, bias, "left"),
        draw,
        {"weight": [1.0, 2.0], "bias": [0, 2]},
        ALT,
        ["weight"],
    )
    assert shown.at(weight=1.37) == (1.37, 0, "left") and list(
        shown.live().knobs["weight"].options
    ) == [("1", 1.0), ("2", 2.0)]
    for values, sentence in (
        ({"weight": 2.1}, "weight cannot be 2.1: choose a number from 1 to 2"),
        ({"weight": "far"}, "weight cannot be far: choose a number from 1 to 2"),
        ({"bias": 1}, "bias cannot be 1: choose among 0, 2"),
    ):
        with pytest.raises(UserError, match=f"^{sentence}$"):
            shown.at(**values)


def test_axes_of_frames_stay_where_they_are():
    """Longer numbers beside an axis do not push it."""
    layout = Layout()
    places = []
    for weight in (1.0, 1e7):
        figure = draw((weight, 0, "left"))
        figure.axes[0].set_ylim(-1, weight)
        layout.pixels(figure)
        places.append(figure.axes[0].get_position().bounds)
    assert places[0] == places[1]


def test_a_knob_moved_back_shows_the_same_picture():
    """Axes do not jump, whatever was drawn in between."""
    live = explorer().live()
    for name, knob in live.knobs.items():
        before = live.view.value
        knob.value = KNOBS[name][1]
        assert live.view.value != before
        knob.value = KNOBS[name][0]
        assert live.view.value == before


def test_pictures_are_described():
    live, stack = explorer().live(), explorer().frames("bias")
    pages = [live.view.value] + [frame.value for frame in stack.stack.children[0].children]
    assert all('"A line of &quot;slope&quot; weight &amp; height bias."' in page for page in pages)


def test_frames_name_their_knobs_and_stay_within_limits():
    stack = explorer().frames("weight", "side", columns=[2.0, 0.3], bias=1)
    rows = stack.stack.children
    assert [len(row.children) for row in rows] == [2, 2]
    assert "bias = 1, weight = 0.3, side = right" in rows[1].children[1].value
    assert (stack.column.description, stack.row.description) == ("weight", "side")
    by_default = explorer().frames("weight").stack.children[0].children
    assert ["weight = 0.3" in by_default[0].value, "weight = 2" in by_default[2].value] == [
        True,
        True,
    ]
    many = Explorer(lambda n: (n, 0, "left"), draw, {"n": range(MOST_FRAMES + 1)}, ALT)
    with pytest.raises(UserError, match="at most"):
        many.frames("n")


def test_threads_may_draw_at_once():
    """JupyterLab can run a widget's callback beside a cell: pictures are the same, and pyplot knows of none."""
    states = [
        (weight, bias, side)
        for weight in KNOBS["weight"]
        for bias in KNOBS["bias"]
        for side in KNOBS["side"]
    ]
    alone = [pixels(draw(state), DPI) for state in states]
    with ThreadPoolExecutor(4) as pool:
        in_parallel = list(pool.map(lambda state: pixels(draw(state), DPI), states))
    assert (
        all(np.array_equal(one, other) for one, other in zip(alone, in_parallel))
        and not plt.get_fignums()
    )
