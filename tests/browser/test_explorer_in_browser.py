"""A journey through chapter 00 in JupyterLab: the trajectory explorer, and what its controls change."""

import re

import pytest

from .journeys import LONG, RANGE, run_all

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHAPTER = "00_how_to_use_this_book"
CONTRAST = """box => {
    const parts = color => color.match(/[\\d.]+/g).map(Number);
    const over = (top, below) => top.slice(0, 3).map((part, i) => part * (top[3] ?? 1) + below[i] * (1 - (top[3] ?? 1)));
    const paper = node => {
        const own = node ? parts(getComputedStyle(node).backgroundColor) : [255, 255, 255];
        return (own[3] ?? 1) === 1 ? own : over(own, paper(node.parentElement));
    };
    const light = color => color.slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    const texts = [...box.querySelectorAll("b, i, p, span, .tale, .widget-label, .widget-readout, .widget-html-content *")]
        .filter(node => node.checkVisibility())
        .filter(node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()));
    return texts.map(node => {
        const [dark, bright] = [light(parts(getComputedStyle(node).color)), light(paper(node))].sort((a, b) => a - b);
        return [(bright + 0.05) / (dark + 0.05), node.outerHTML.slice(0, 80)];
    });
}"""  # of each piece of text with what lies behind it, as WCAG defines it


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
    for _ in range(600):
        page.wait_for_timeout(100)
        if scene(box) != before:
            return scene(box)
    raise AssertionError("the scene did not change")


def slider(box, name):
    return box.locator(".widget-hslider", has_text=re.compile(f"^{name}")).locator(".noUi-handle")


def test_time_moves_words_and_picture_and_is_named_once(chapter):
    box = live(chapter)
    before = scene(box)
    slider(box, "time").focus()
    for _ in range(6):
        chapter.keyboard.press("ArrowLeft")
    chapter.wait_for_timeout(3000)
    words, drawing = settled(chapter, box, before)
    assert words != before[0] and drawing != before[1]
    shown = box.get_by_text(re.compile(r"^t = \d\.\d+$")).inner_text()
    assert shown < "t = 1" and box.locator(".scene b").first.inner_text() == f"ldlm-tales, {shown}"


def test_unknown_words_keep_the_picture_and_are_answered_with_near_ones(chapter):
    box, prompt = live(chapter), live(chapter).locator("input[type=text]")
    before = scene(box)
    prompt.fill("Once upon a time")
    prompt.press("Enter")
    box.get_by_text("not in the vocabulary").wait_for(timeout=LONG)
    assert (
        box.get_by_text("'upon' and 'time'").count()
        and box.get_by_text("a tale begins like 'once at").count()
    )
    assert scene(box) == before
    prompt.fill("Once at the castle there lived")
    prompt.press("Enter")
    box.locator(".computing").wait_for(timeout=LONG)
    settled(chapter, box, before)
    box.locator(".computing").wait_for(state="detached", timeout=LONG)
    assert box.locator(".tale").inner_text().split()[1:4] == ["once", "at", "the"]
    assert not box.get_by_text("not in the vocabulary").count()
    described = scene(box)
    prompt.fill("")
    prompt.press("Enter")
    settled(chapter, box, described)


def test_a_prompt_stays_when_the_model_is_changed_and_back(chapter):
    """All other controls are moved for every model in the journey with texts that are disturbed."""
    box = live(chapter)
    slider(box, "time").focus()
    chapter.keyboard.press("End")
    box.get_by_text("ldlm-tales, t = 1.000").wait_for(timeout=LONG)
    before = scene(box)
    box.locator("input[type=text]").fill("once at the harbor")
    box.locator("input[type=text]").press("Enter")
    before = settled(chapter, box, before)
    for model in ("gpt-tales", "ldlm-tales"):
        box.locator("select").first.select_option(model)
        before = settled(chapter, box, before)
        words = box.locator(".tale").inner_text().split()
        assert words[:5] == ["<bos>", "once", "at", "the", "harbor"]
        assert box.locator("select").nth(1).is_disabled() == (model == "gpt-tales")
        assert box.get_by_text(f"{model}, t =").count()


def test_end_leads_to_the_end_when_the_steps_have_changed(chapter):
    """Also when it is pressed at once, while the new run is computed."""
    box = live(chapter)
    for key, wait in (("ArrowRight", 0), ("ArrowLeft", 5000)):
        slider(box, "time").focus()
        chapter.keyboard.press("Home")
        box.get_by_text("ldlm-tales, t = 0.000").wait_for(timeout=LONG)
        slider(box, "steps").focus()
        chapter.keyboard.press(key)
        chapter.wait_for_timeout(wait)
        slider(box, "time").focus()
        chapter.keyboard.press("End")
        box.get_by_text("ldlm-tales, t = 1.000").wait_for(timeout=LONG)


def test_a_disturbance_shows_three_paths(chapter):
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


def test_all_text_can_be_read_in_both_themes_and_on_a_phone(chapter):
    box = live(chapter)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        chapter.get_by_role("menuitem", name="Settings", exact=True).click()
        chapter.get_by_text("Theme", exact=True).first.hover()
        chapter.get_by_text(theme, exact=True).first.click()
        light = str(theme.endswith("Light")).lower()
        chapter.locator(f"body[data-jp-theme-light={light}]").wait_for(
            state="attached", timeout=LONG
        )
        chapter.wait_for_timeout(1000)
        found = box.evaluate(CONTRAST)
        assert len(found) > 60 and not [pair for pair in found if pair[0] < 4.5], theme
    chapter.set_viewport_size({"width": 400, "height": 900})
    chapter.keyboard.press("Control+b")  # the list of files, which leaves no room
    chapter.wait_for_timeout(2000)
    plane, tale = (
        box.locator(part).first.bounding_box() for part in (".scene .left", ".scene .tale")
    )
    assert tale["y"] > plane["y"] + plane["height"] - 1 and tale["x"] + tale["width"] < 400
    chapter.keyboard.press("Control+b")
    chapter.set_viewport_size({"width": 1280, "height": 1000})
    chapter.wait_for_timeout(2000)


def test_frames_move_in_the_browser(chapter):
    box = chapter.locator(".widget-vbox", has=chapter.locator(".widget-play")).first
    shown, time = box.locator(".scene:visible"), slider(box, "time")
    assert time.evaluate(RANGE)[1] == 20  # 21 frames, whose run may have fewer steps
    time.focus()
    chapter.keyboard.press("Home")
    box.get_by_text("t = 0.000").first.wait_for()
    seen = [shown.inner_html()]
    for k in range(1, 21):
        chapter.keyboard.press("ArrowRight")
        chapter.wait_for_timeout(100)
        assert shown.count() == 1 and time.evaluate(RANGE)[0] == k
        seen.append(shown.inner_html())
    assert "t = 1.000" in seen[-1]
    words = re.findall(r"of (\d+), text", seen[0])
    assert len(set(seen)) == min(21, int(words[0]) + 1)


def test_screenshot_is_kept(chapter, tmp_path_factory):
    box = live(chapter)
    slider(box, "time").focus()
    chapter.keyboard.press("End")
    slider(box, "size").focus()
    chapter.keyboard.press("ArrowRight")
    box.locator(".tale").nth(2).wait_for(timeout=LONG)
    box.locator(".computing").wait_for(state="detached", timeout=LONG)
    box.evaluate("box => box.scrollIntoView({block: 'start'})")
    chapter.wait_for_timeout(2000)
    kept = tmp_path_factory.getbasetemp() / "explorer_in_lab.png"
    chapter.screenshot(path=kept)
    assert kept.stat().st_size > 20_000
