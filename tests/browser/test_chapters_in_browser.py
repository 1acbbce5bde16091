"""Journeys through each chapter: its widgets' cells run in JupyterLab, and every control of every widget is moved.

Widgets are found by their structure, so that a new chapter is moved as soon as it exists. A chapter whose widgets need no
kernel is moved on its page of the site only; chapter 00 has a journey of its own.
"""

import json

import pytest

from .conftest import NEW_CELL, ROOT
from .journeys import changed, choose, move, picture, run_all, vboxes

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATHS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def is_live(path) -> bool:
    """Whether a chapter shows an explorer that needs a kernel, or tells its reader to."""
    return NEW_CELL in path.read_text() or any(
        ".live()" in "".join(cell["source"])
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code"
    )


@pytest.mark.parametrize("chapter", [path.stem for path in PATHS[1:] if is_live(path)])
def test_every_control_changes_its_picture(browser, lab, chapter, tmp_path_factory):
    faults: list[str] = []
    page = run_all(browser, lab, chapter, faults)
    assert not page.locator('[data-mime-type="application/vnd.jupyter.error"]').count()
    assert not page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count()
    found = vboxes(page)
    assert found, "a chapter has a widget"
    for box in found:
        box.scroll_into_view_if_needed()
        for handle in box.locator(".noUi-handle").all():
            move(page, box, handle)
        for menu in box.locator("select").all():
            choose(page, box, menu)
        for play in box.locator(".widget-play").all():
            before = picture(box)
            play.locator("button").first.click()
            changed(page, box, before)
    found[-1].scroll_into_view_if_needed()
    page.screenshot(path=tmp_path_factory.getbasetemp() / f"{chapter[:2]}_explorer_in_lab.png")
    page.close()
    assert not faults
