"""Text whose words carry a confidence: shaded in HTML and on axes, marked where they have just changed."""

import html

from matplotlib.axes import Axes

from .scenes import Spoken
from .style import CONTROL, DATA, INK, NOISE

LEVELS = 8  # of shading
STYLE = ("<style>.tale{font:13px/1.75 ui-monospace,monospace;color:#222;background:#fff;padding:4px}"
         ".tale i{font-style:normal;padding:1px 3px;border-radius:3px;margin-right:2px}"
         f".tale .new{{box-shadow:inset 0 -3px {CONTROL}}}"
         + "".join(f".tale .c{i}{{background:rgba(0,114,178,{0.5 * i / (LEVELS - 1):.2f})}}" for i in range(LEVELS))
         + f".tale .off{{color:{NOISE}}}</style>")


def level(confidence: float) -> int:
    """Shade of a probability, 0 .. LEVELS - 1."""
    return min(int(confidence * LEVELS), LEVELS - 1)


def shown(said: Spoken) -> int:
    """How many words to show: all before the padding at the end."""
    n = len(said.words)
    while n and said.words[n - 1] == "<pad>":
        n -= 1
    return n


def as_html(said: Spoken) -> str:
    """The text at a moment: the deeper the shade, the surer the word; underlined where it is marked."""
    spans = []
    for word, sure, new in list(zip(said.words, said.confidence.tolist(), said.marked.tolist()))[: shown(said)]:
        names = f"c{level(sure)}" + " new" * new + " off" * word.startswith("<")
        spans.append(f'<i class="{names}">{"·" if word == "<pad>" else html.escape(word)}</i>')
    return f'<div class="tale">{" ".join(spans)}</div>'


def on_axes(axes: Axes, said: Spoken, columns: int = 62, size: float = 6.4,
            pitch: float = 0.2) -> None:
    """Write the text at a moment into axes without ticks, in lines of `columns` letters, `pitch` of the height apart."""
    axes.set_axis_off()
    x, line, step = 0, 0, 1 / columns
    for word, sure, new in list(zip(said.words, said.confidence.tolist(), said.marked.tolist()))[: shown(said)]:
        word = "·" if word == "<pad>" else word
        if x + len(word) > columns:
            x, line = 0, line + 1
        y = 0.98 - pitch * line
        box = {"facecolor": DATA, "alpha": 0.5 * level(sure) / (LEVELS - 1), "edgecolor": "none", "pad": 1.0}
        axes.text(x * step, y, word, family="monospace", size=size, va="top", color=NOISE if word[0] == "<" else INK,
                  bbox=box, transform=axes.transAxes)
        if new:
            axes.plot([x * step, (x + len(word)) * step], [y - 0.775 * pitch] * 2, color=CONTROL, lw=1.4, clip_on=False,
                      transform=axes.transAxes)
        x += len(word) + 1
