"""Journeys through each chapter: all cells run in JupyterLab, every control of every widget moved; pages without a kernel.

Widgets are found by their structure, so that a new chapter is moved as soon as it exists. A chapter whose widgets need no
kernel is moved on its page only; chapter 00 has a journey of its own.
"""

import json

import pytest

from .conftest import ROOT
from .journeys import LONG, boxes, changed, picture, press, run_all

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATHS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def is_live(path) -> bool:
    """Whether a cell of a chapter shows a widget that needs a kernel."""
    cells = json.loads(path.read_text())["cells"]
    return any(".live()" in "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("chapter", [path.stem for path in PATHS[1:] if is_live(path)])
def test_every_control_changes_its_picture(browser, lab, chapter, tmp_path_factory):
    faults: list[str] = []
    page = run_all(browser, lab, chapter, faults)
    assert not page.locator('[data-mime-type="application/vnd.jupyter.error"]').count()
    assert not page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count()
    found = boxes(page)
    assert found, "a chapter has a widget"
    for box in found:
        box.scroll_into_view_if_needed()
        shown = picture(box)
        for handle in box.locator(".noUi-handle").all():
            press(page, handle)
            shown = changed(page, box, shown)
        for choice in box.locator("select").all():
            choice.select_option(index=1)
            shown = changed(page, box, shown)
        for switch in box.locator("button.widget-toggle-button").all():
            switch.click()
            shown = changed(page, box, shown)
        for play in box.locator(".widget-play").all():
            play.locator("button").first.click()
            changed(page, box, shown)
            play.locator("button").first.click()
    found[-1].scroll_into_view_if_needed()
    page.screenshot(path=tmp_path_factory.getbasetemp() / f"{chapter[:2]}_explorer_in_lab.png")
    page.close()
    assert not faults


@pytest.mark.parametrize("chapter", [path.stem for path in PATHS])
def test_frames_move_without_a_kernel(page, served, chapter):
    foreign, faults = [], []
    page.on("request", lambda request: request.url.startswith(("http", "ws")) and not request.url.startswith(served)
            and foreign.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{served}/{chapter}.html")
    page.locator("div.widget").first.wait_for(timeout=LONG)
    frames = [box for box in boxes(page) if box.locator("input[type=range]").count()]
    assert frames
    for box in frames:
        shown = picture(box)
        for slider in box.locator("input[type=range]").all():
            press(page, slider)
            shown = changed(page, box, shown)
        box.get_by_role("button", name="play").click()
        changed(page, box, shown)
    assert not foreign and not faults
