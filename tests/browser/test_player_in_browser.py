"""A journey with the player on a page of its own: play moves the dots, the slider sets the time, pointing reads the label."""

import pytest
import torch

from minildm.viz.core.player import HIGH, WIDE, Player

pytestmark = pytest.mark.browser

TIMES = torch.linspace(0, 1, 11)
PATHS = TIMES[:, None, None] * torch.tensor(
    [[2.0, 1.0], [-2.0, -1.0]]
)  # both leave the middle of the canvas
LABELS = [[f"right after {k}", f"left after {k}"] for k in range(len(TIMES))]


@pytest.fixture
def player(page):
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.set_content(Player(TIMES, PATHS, LABELS, "Two points leave the middle.").page())
    yield page.frame_locator("iframe")
    assert not faults


def pixels(player) -> str:
    return player.locator("canvas").evaluate("canvas => canvas.toDataURL()")


def set_time(player, k: int) -> None:
    player.get_by_label("time").fill(str(k))


def test_play_moves_the_dots_to_the_end(page, player):
    before = pixels(player)
    player.get_by_label("play").click()
    page.wait_for_timeout(1500)
    assert pixels(player) != before
    player.get_by_text("t = 1.00").wait_for(timeout=30_000)
    assert player.get_by_label("play").inner_text() == "▶"


def test_scrub_sets_the_time(player):
    before = pixels(player)
    set_time(player, 5)
    assert player.locator("output").inner_text() == "t = 0.50"
    assert pixels(player) != before


def test_pointing_reads_the_label_at_that_time(player):
    canvas, says = player.locator("canvas"), player.locator("p")
    set_time(player, 10)
    canvas.hover(
        position={"x": 0.7 * WIDE, "y": HIGH / 2 - 0.1 * WIDE}
    )  # on the line of slope 1/2 through the middle
    assert says.inner_text() == "right after 10"
    plain = pixels(player)
    set_time(player, 7)
    assert says.inner_text() == "right after 7" and pixels(player) != plain
    canvas.hover(position={"x": 5, "y": 5})
    assert says.inner_text() == "Point at a path to read it."


def test_keys_choose_a_path(page, player):
    player.locator("canvas").focus()
    page.keyboard.press("ArrowUp")
    assert player.locator("p").inner_text() == "left after 0"
    page.keyboard.press("ArrowDown")
    assert player.locator("p").inner_text() == "right after 0"
