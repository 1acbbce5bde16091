"""The player: its data is a pure function of paths and labels, and its page needs nothing from elsewhere."""

import json
import re

import pytest
import torch

from minildm import UserError
from minildm.viz.core import style
from minildm.viz.core.player import HIGH, MARGIN, MOST_POINTS, WIDE, Player, layout

TIMES = torch.linspace(0, 1, 5)
PATHS = TIMES[:, None, None] * torch.tensor(
    [[4.0, 1.0], [-4.0, 2.0], [0.0, -2.0]]
)  # (time, batch, 2), from the origin
NAMES = ["right", "left", "down"]
ALT = "Three points leave the middle on straight lines."


def test_both_axes_have_one_scale_and_the_widest_fills_the_canvas():
    points = torch.tensor(layout(TIMES, PATHS, NAMES)["points"]).view(3, 5, 2).transpose(0, 1)
    x, y = points.unbind(-1)
    assert float(x.min()) == MARGIN and float(x.max()) == WIDE - MARGIN
    scale = (WIDE - 2 * MARGIN) / 8
    assert torch.allclose(x, WIDE / 2 + scale * PATHS[..., 0], atol=0.051)
    assert torch.allclose(y, HIGH / 2 - scale * PATHS[..., 1], atol=0.051)


def test_grid_lines_stand_where_their_names_say():
    data, scale = layout(TIMES, PATHS, NAMES), (WIDE - 2 * MARGIN) / 8
    assert len(data["grid"]["x"]) >= 3 and len(data["grid"]["y"]) >= 3
    assert all(
        abs(place - (WIDE / 2 + scale * float(name))) < 0.051 for place, name in data["grid"]["x"]
    )
    assert all(
        abs(place - (HIGH / 2 - scale * float(name))) < 0.051 for place, name in data["grid"]["y"]
    )


def test_a_text_is_stored_once_and_said_at_its_time():
    rows = [["noise"] * 3, ["a", "b", "noise"], ["a", "b", "c"], ["a", "b", "c"], ["a", "b", "c"]]
    data = layout(TIMES, PATHS, rows)
    assert data["texts"] == ["noise", "a", "b", "c"]
    said = [[data["texts"][row[k]] for row in data["said"]] for k in range(5)]
    assert said == rows
    assert layout(TIMES, PATHS, NAMES)["said"] == [[0], [1], [2]]


def test_points_on_one_spot_have_a_place():
    points = layout(TIMES, torch.zeros(5, 2, 2), ["a", "b"])["points"]
    assert points == [[WIDE / 2, HIGH / 2] * 5] * 2


@pytest.mark.parametrize(
    ("times", "paths", "labels", "sentence"),
    [
        (TIMES, PATHS, ["one"], "need 5 times and 3 labels"),
        (TIMES[:4], PATHS, NAMES, "need 5 times and 3 labels"),
        (TIMES, PATHS, [NAMES] * 4, "or 5 rows of 3 labels"),
        (TIMES, PATHS / 0, NAMES, "two finite numbers"),
        (
            torch.arange(2.0),
            torch.zeros(2, MOST_POINTS, 2),
            ["a"] * MOST_POINTS,
            "use at most 20000 points",
        ),
        (TIMES, PATHS, ["a" * 200_001, "b", "c"], "use at most 20000 points and 200000 letters"),
    ],
)
def test_what_a_page_cannot_hold_is_refused(times, paths, labels, sentence):
    with pytest.raises(UserError, match=sentence):
        Player(times, paths, labels, ALT)


def test_the_page_is_self_contained_and_holds_its_data():
    player = Player(TIMES, PATHS, ["</script><b>", "left & right", "'quoted'"], ALT)
    document = player.document()
    assert not re.search(r"https?:|src=|@import|<link", document)
    assert document.count("<script") == document.count("</script>") == 2
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', document)[1])
    assert {key: data[key] for key in player.data} == json.loads(json.dumps(player.data))
    assert f'aria-label="{ALT}"' in document and f'title="{ALT}"' in player.page()
    assert 'sandbox="allow-scripts"' in player.page() and player.page().count("<") == 2


def test_figure_has_a_panel_for_each_moment():
    style.use()
    figure = Player(TIMES, PATHS, NAMES, ALT).figure(moments=3)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "t = 0.00",
        "t = 0.50",
        "t = 1.00",
    ]
    dots = torch.from_numpy(figure.axes[1].collections[-1].get_offsets().data)
    assert torch.allclose(dots.float(), PATHS[2])
