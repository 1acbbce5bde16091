"""Text whose words are shaded by how long they have stood, in HTML and on axes, and marked where
they have just changed.
"""

import html

from matplotlib.axes import Axes

from ..core.style import CARD, CONTROL, DATA, INK
from .scenes import HIDDEN, Spoken

LEVELS = 8  # of shading
STYLE = (
    f"<style>.tale{{font:13px/1.75 ui-monospace,monospace;{CARD}}}"
    ".tale i{font-style:normal;padding:1px 3px;border-radius:3px;margin-right:2px}"
    f".tale .new{{box-shadow:inset 0 -3px {CONTROL}}}"
    + "".join(
        f".tale .c{i}{{background:rgba(0,114,178,{0.5 * i / (LEVELS - 1):.2f})}}"
        for i in range(LEVELS)
    )
    + "</style>"
)
CAPTION = (
    "Blue: the share of the time so far for which a word has stood unchanged, from none (white) to all of it. "
    "Orange line: "
)
NEW = ("a word that has just changed.", "a word other than the plan's.")


def level(word: str, stood: float) -> int:
    """Shade of a word, 0 .. LEVELS - 1: none where nothing is written yet."""
    return 0 if word == HIDDEN else min(int(stood * LEVELS), LEVELS - 1)


def shown(said: Spoken) -> int:
    """How many words to show: all before the padding at the end."""
    n = len(said.words)
    while n and said.words[n - 1] == "<pad>":
        n -= 1
    return n


def as_html(said: Spoken) -> str:
    """The text at a moment: the deeper the shade, the longer the word has stood; underlined where
    it is marked.
    """
    spans = []
    for word, stood, new in list(zip(said.words, said.stood.tolist(), said.marked.tolist()))[
        : shown(said)
    ]:
        names = f"c{level(word, stood)}" + " new" * new
        spans.append(f'<i class="{names}">{"·" if word == "<pad>" else html.escape(word)}</i>')
    return f'<div class="tale">{" ".join(spans)}</div>'


def on_axes(
    axes: Axes, said: Spoken, columns: int = 62, size: float = 6.4, pitch: float = 0.2
) -> None:
    """Write the text at a moment into axes without ticks, in lines of `columns` letters, `pitch` of
    the height apart.
    """
    axes.set_axis_off()
    x, line, step = 0, 0, 1 / columns
    for word, stood, new in list(zip(said.words, said.stood.tolist(), said.marked.tolist()))[
        : shown(said)
    ]:
        word = "·" if word == "<pad>" else word
        if x + len(word) > columns:
            x, line = 0, line + 1
        y = 0.98 - pitch * line
        box = {
            "facecolor": DATA,
            "alpha": 0.5 * level(word, stood) / (LEVELS - 1),
            "edgecolor": "none",
            "pad": 1.0,
        }
        axes.text(
            x * step,
            y,
            word,
            family="monospace",
            size=size,
            va="top",
            color=INK,
            bbox=box,
            transform=axes.transAxes,
        )
        if new:
            axes.plot(
                [x * step, (x + len(word)) * step],
                [y - 0.775 * pitch] * 2,
                color=CONTROL,
                lw=1.4,
                clip_on=False,
                transform=axes.transAxes,
            )
        x += len(word) + 1
