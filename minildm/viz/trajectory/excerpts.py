"""Text in HTML and on axes, shaded by how long a word has not changed, and marked."""

import html
from collections.abc import Iterator

from matplotlib.axes import Axes

from ..core.style import CARD, CONTROL, DATA, INK
from .scenes import HIDDEN, Excerpt

LEVELS = 8  # of shading
SHADES = "".join(
    f".tale .c{i}{{background:rgba(0,114,178,{0.5 * i / (LEVELS - 1):.2f})}}" for i in range(LEVELS)
)
STYLE = (
    f"<style>.tale{{font:13px/1.75 ui-monospace,monospace;{CARD}}}"
    ".tale i{font-style:normal;padding:1px 3px;border-radius:3px;margin-right:2px}"
    f".tale .new{{box-shadow:inset 0 -3px {CONTROL}}}{SHADES}</style>"
)
CAPTION = (
    "Blue: the fraction of the time so far for which a word has not changed, from none (white) to "
    "all of it. Orange line: "
)
NEW = ("a word that has just changed.", "a word other than the plan's.")


def shaded(excerpt: Excerpt) -> Iterator[tuple[str, int, bool]]:
    """Each word before the padding at the end, its shade 0 .. LEVELS - 1, and whether it is marked.

    Padding between words is a dot, and a word that is not written yet has no shade.
    """
    words = excerpt.words
    last = max((i for i, word in enumerate(words) if word != "<pad>"), default=-1)
    for word, unchanged, marked in zip(
        words[: last + 1], excerpt.unchanged.tolist(), excerpt.marked.tolist()
    ):
        level = 0 if word == HIDDEN else min(int(unchanged * LEVELS), LEVELS - 1)
        yield "·" if word == "<pad>" else word, level, marked


def as_html(excerpt: Excerpt) -> str:
    """The text at a moment as HTML."""
    spans = (
        f'<i class="c{level}{" new" * marked}">{html.escape(word)}</i>'
        for word, level, marked in shaded(excerpt)
    )
    return f'<div class="tale">{" ".join(spans)}</div>'


def on_axes(
    axes: Axes, excerpt: Excerpt, columns: int = 62, size: float = 6.4, pitch: float = 0.2
) -> None:
    """Write the text at a moment into axes without ticks.

    Args:
        axes: Where to write.
        excerpt: The text.
        columns: Letters a line.
        size: Of the font, in points.
        pitch: Distance of lines, as a fraction of the height.
    """
    axes.set_axis_off()
    x = 0
    y = 0.98
    for word, level, marked in shaded(excerpt):
        if x + len(word) > columns:
            x = 0
            y -= pitch
        box = {"facecolor": DATA, "alpha": 0.5 * level / (LEVELS - 1), "edgecolor": "none"}
        left, right = x / columns, (x + len(word)) / columns
        font = {"family": "monospace", "size": size, "va": "top", "color": INK}
        axes.text(left, y, word, bbox={**box, "pad": 1.0}, transform=axes.transAxes, **font)
        if marked:
            line = {"color": CONTROL, "lw": 1.4, "clip_on": False}
            under = y - 0.775 * pitch
            axes.plot([left, right], [under, under], transform=axes.transAxes, **line)
        x += len(word) + 1
