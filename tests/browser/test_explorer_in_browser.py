"""A journey through chapter 00 in JupyterLab: the trajectory explorer, each control, and what it changes."""

import re

import pytest

from .journeys import LONG, run_all

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHAPTER = "00_how_to_use_this_book"


@pytest.fixture(scope="module")
def chapter(browser, lab):
    """Chapter 00 in JupyterLab, all of its cells run."""
    page = run_all(browser, lab, CHAPTER, [])
    live(page).locator(".tale").wait_for(timeout=LONG)
    yield page
    page.close()


def live(page):
    """The box of the live explorer: the only one with menus."""
    return page.locator(".widget-vbox", has=page.locator(".widget-dropdown")).last


def scene(box) -> tuple[str, str]:
    """What the explorer shows: its words with marks, and its drawing."""
    return box.locator(".tale").inner_html(), box.locator("svg").first.inner_html()


def settled(page, box, before):
    """The scene, once it differs from `before`."""
    for _ in range(200):
        page.wait_for_timeout(100)
        if scene(box) != before:
            return scene(box)
    raise AssertionError("the scene did not change")


def slider(box, name):
    return box.locator(".widget-hslider", has_text=re.compile(f"^{name}")).locator(".noUi-handle")


def test_time_moves_words_and_picture(chapter):
    box = live(chapter)
    before = scene(box)
    slider(box, "time").focus()
    for _ in range(4):
        chapter.keyboard.press("ArrowRight")
    words, drawing = settled(chapter, box, before)
    assert words != before[0] and drawing != before[1]
    assert box.get_by_text("t = 0.000").count() == 0


def test_text_seed_solver_steps_prompt_and_model_change_the_scene(chapter):
    box = live(chapter)
    slider(box, "text").focus()
    before = scene(box)
    chapter.keyboard.press("ArrowRight")
    before = settled(chapter, box, before)
    box.locator("input[type=number]").first.fill("7")
    box.locator("input[type=number]").first.press("Enter")
    before = settled(chapter, box, before)
    box.locator("select").nth(1).select_option("ancestral")
    before = settled(chapter, box, before)
    slider(box, "steps").focus()
    chapter.keyboard.press("ArrowRight")
    before = settled(chapter, box, before)
    box.locator("input[type=text]").first.fill("once at the harbor")
    box.locator("input[type=text]").first.press("Enter")
    before = settled(chapter, box, before)
    assert box.locator(".tale").inner_text().split()[:5] == ["<bos>", "once", "at", "the", "harbor"]
    box.locator("select").first.select_option("gpt-tales")
    before = settled(chapter, box, before)
    assert box.locator("select").nth(1).is_disabled() and box.get_by_text("gpt-tales, t =").count()
    box.locator("select").first.select_option("ldlm-tales")
    settled(chapter, box, before)


def test_a_kick_shows_three_paths(chapter):
    box = live(chapter)
    slider(box, "size").focus()
    chapter.keyboard.press("ArrowRight")
    box.locator(".tale").nth(2).wait_for(timeout=LONG)
    assert box.locator(".tale").count() == 3 and box.get_by_text("plan replayed").count()
    slider(box, "size").focus()
    chapter.keyboard.press("ArrowLeft")
    box.locator(".tale").nth(1).wait_for(state="detached", timeout=LONG)


def test_play_runs_through_time(chapter):
    box = live(chapter)
    slider(box, "time").focus()
    chapter.keyboard.press("Home")
    chapter.wait_for_timeout(500)
    before = scene(box)
    box.locator(".widget-play button").first.click()
    after = settled(chapter, box, before)
    settled(chapter, box, after)


def test_frames_move_in_the_front_end(chapter):
    box = chapter.locator(".widget-vbox", has=chapter.locator(".widget-play")).first
    shown = box.locator(".scene:visible")
    before = shown.inner_html()
    slider(box, "time").focus()
    chapter.keyboard.press("ArrowRight")
    chapter.wait_for_timeout(1000)
    assert shown.count() == 1 and shown.inner_html() != before


def test_screenshot_is_kept(chapter, tmp_path_factory):
    live(chapter).scroll_into_view_if_needed()
    kept = tmp_path_factory.getbasetemp() / "explorer_in_lab.png"
    chapter.screenshot(path=kept)
    assert kept.stat().st_size > 20_000
