"""The book as a site: every link leads somewhere, every formula is drawn, frames move, on a phone and in the dark, offline."""

import re

import pytest

from .conftest import ROOT
from .journeys import PICTURE, picture
from .pages import NOTEBOOKS, Page, formulas

pytestmark = pytest.mark.browser

FRAMES = 21  # of a player, at least: fewer seem to be separate pictures
CHAPTERS = [name for name in NOTEBOOKS if re.fullmatch(r"notebooks/\d\d_\w+", name)]
DRAWN = (
    "() => !document.querySelector('.math') || window.MathJax?.startup?.promise?.then(() => true)"
)
WORDS = """() => {
    const copy = document.querySelector(".bd-article").cloneNode(true);
    copy.querySelectorAll("mjx-container, pre, code, script, style").forEach(node => node.remove());
    return copy.textContent;
}"""
FITS = "() => document.documentElement.scrollWidth <= window.innerWidth"  # once the side bars have moved
CUT = """() => [...document.querySelectorAll(".widget .tale, .widget svg, .widget img, .widget input, .bd-article > * p")]
    .filter(node => node.checkVisibility({ visibilityProperty: true }) && !node.closest("table, mjx-container"))
    .map(node => node.getBoundingClientRect()).filter(place => place.left < 0 || place.right > window.innerWidth).length"""
UNREACHABLE = """() => [...document.querySelectorAll(".bd-article :is(.math, .math > mjx-container, table, pre, .widget)")]
    .map(node => [node.getBoundingClientRect(), node.parentElement.getBoundingClientRect()])
    .filter(([place, around]) => place.width > 0 && place.left < around.left - 1).length"""
LIGHTNESS = """query => [...document.querySelectorAll(query)].map(node =>
    getComputedStyle(node).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3)"""


@pytest.fixture(scope="module")
def pages(site) -> dict:
    """Every page of the site by its file, without the parts of the theme."""
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path.resolve(): Page(path) for path in paths}


@pytest.fixture
def opened(page, served):
    """Opens a page of the site at a width; a request to elsewhere or a message of error is a fault."""
    faults = []
    page.on(
        "request",
        lambda request: request.url.startswith((served, "data:")) or faults.append(request.url),
    )
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))

    def visit(name: str, width: int = 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{served}/{name}.html", wait_until="load")
        return page

    yield visit
    assert not faults


def test_every_link_leads_to_a_file_and_a_place(pages):
    for page in pages.values():
        for link in page.links:
            target, place = page.at(link)
            assert target.is_file(), f"{page.path.name}: {link}"
            assert not place or target not in pages or place in pages[target].places, (
                f"{page.path.name}: {link}"
            )


def test_next_leads_from_the_first_page_through_the_whole_book(site, pages):
    at, seen = (site / "index.html").resolve(), []
    while pages[at].next:
        at, _ = pages[at].at(pages[at].next)
        seen.append(at.relative_to(site.resolve()).with_suffix("").as_posix())
    assert sorted(seen) == sorted([*NOTEBOOKS, "references", "api"])
    assert [name for name in seen if name in CHAPTERS] == CHAPTERS


def test_each_page_serves_its_notebook_and_describes_its_images(site, pages):
    for name in NOTEBOOKS:
        page = pages[(site / f"{name}.html").resolve()]
        files = [page.at(link)[0] for link in page.links if link.endswith(".ipynb")]
        assert [file.read_bytes() for file in files] == [(ROOT / f"{name}.ipynb").read_bytes()]
        assert not page.nameless


@pytest.mark.parametrize("name", ["index", "references", *NOTEBOOKS])
def test_a_page_is_whole_in_light_and_dark_wide_and_narrow(opened, name):
    page = opened(name)
    page.wait_for_function(DRAWN)
    if name in NOTEBOOKS:
        assert page.locator(".bd-article mjx-container").count() == formulas(name)
    assert not page.locator("mjx-merror").count()
    assert not re.findall(r"\$|\\[a-zA-Z(\[]", page.evaluate(WORDS))
    page.wait_for_function(FITS)
    assert page.evaluate(LIGHTNESS, "body")[0] > 200
    page.get_by_label("Color mode").first.click()
    page.locator(".theme-change-button[data-mode=dark]").first.click()
    assert page.evaluate(LIGHTNESS, "body")[0] < 50
    assert all(
        light > 200
        for light in page.evaluate(
            LIGHTNESS, ".widget, .cell_output > .output > img, .cell_output > img"
        )
    )
    page.set_viewport_size({"width": 400, "height": 900})
    page.wait_for_function(FITS)
    assert not page.evaluate(CUT) and not page.evaluate(UNREACHABLE)


@pytest.mark.parametrize("name", CHAPTERS)
def test_frames_move_on_a_phone_without_a_kernel(page, opened, name):
    page.route(
        "**/tex-chtml.js", lambda route: route.fulfill(body="")
    )  # the formulas, which take most of the time
    opened(name, width=400)
    vboxes = [
        box for box in page.locator("div.widget").all() if box.locator("input, button").count()
    ]
    assert vboxes
    for box in vboxes:
        sliders = box.locator("input[type=range]").all()
        assert int(sliders[0].get_attribute("max")) + 1 >= FRAMES  # of the player, in time
        for slider in sliders:
            before, high = picture(box), box.bounding_box()["height"]
            slider.press("ArrowRight")
            assert picture(box) != before and box.bounding_box()["height"] == high
        before = picture(box)
        box.get_by_role("button", name="play").press("Enter")
        page.wait_for_function(
            f"([box, before]) => ({PICTURE})(box) !== before", arg=[box.element_handle(), before]
        )
    assert page.locator(".needs-kernel").count() <= 1


def test_the_explorer_shows_its_text_on_a_phone_and_says_once_that_it_needs_a_kernel(opened):
    page = opened("notebooks/00_how_to_use_this_book", width=400)
    assert (
        page.locator(".needs-kernel").count() == 1 and not page.locator(".widget :disabled").count()
    )
    for box in page.locator("div.widget").all():
        text = box.locator(".tale:visible").first
        assert (
            text.bounding_box()["y"] > box.locator("svg:visible").first.bounding_box()["y"]
        )  # below the plane, not beside it
        assert len(text.inner_text().split()) > 20


def test_search_finds_a_word(opened):
    page = opened("search")
    page.goto(page.url + "?q=Riccati")
    page.locator("ul.search a", has_text="Linear-quadratic control").first.wait_for()
