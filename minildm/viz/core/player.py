"""Player: many paths on one canvas that plays, scrubs and says what it is pointed at, with a kernel
or without.
"""

import html
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ...errors import UserError
from . import style
from .figures import panels

WIDE, HIGH, MARGIN = 640, 380, 32  # of the canvas, in pixels
MOST_POINTS, MOST_LETTERS = 20_000, 200_000
SCRIPT = Path(__file__).with_suffix(".js")
STYLE = f"""body{{margin:0;font:13px sans-serif;color:{style.INK};background:{style.PAPER}}}
canvas{{display:block;touch-action:none}} nav{{display:flex;gap:8px;align-items:center;width:{WIDE}px}}
nav input{{flex:1}} output{{min-width:5em}} p{{margin:4px 0;min-height:3em;max-width:{WIDE}px}}"""


def layout(
    times: Float[Tensor, " time"],
    paths: Float[Tensor, "time batch 2"],
    labels: Sequence[str] | Sequence[Sequence[str]],
) -> dict:
    """What the canvas draws: paths in pixels with one scale for both axes, lines of a grid, and
    each text once.

    Args:
        times: (time,).
        paths: (time, batch, 2).
        labels: A text for each path, or for each time and path.

    Returns:
        {"times", "points" (batch, 2 time), "grid" {"x", "y"} of (pixel, name), "texts", "said"
        (batch, 1 or time)}.

    Raises:
        UserError: When the labels do not fit the paths or the page would be heavy.
    """
    steps, batch = paths.shape[:2]
    rows = [labels] if isinstance(labels[0], str) else labels
    if len(times) != steps or len(rows) not in (1, steps) or any(len(row) != batch for row in rows):
        raise UserError(
            f"{steps} x {batch} points need {steps} times and {batch} labels, or {steps} rows of {batch} labels"
        )
    texts = list(dict.fromkeys(text for row in rows for text in row))
    if steps * batch > MOST_POINTS or sum(map(len, texts)) > MOST_LETTERS:
        raise UserError(
            f"a player of {steps} x {batch} points and {sum(map(len, texts))} letters makes a page heavy: "
            f"use at most {MOST_POINTS} points and {MOST_LETTERS} letters"
        )
    flat = paths.flatten(0, 1).double()
    if not flat.isfinite().all():
        raise UserError("a path leaves the plane: every point needs two finite numbers")
    low, high = flat.min(0).values, flat.max(0).values
    middle, span = (low + high) / 2, (high - low).clamp(min=1e-9)
    scale = min((WIDE - 2 * MARGIN) / float(span[0]), (HIGH - 2 * MARGIN) / float(span[1]))
    x, y = (paths.double() - middle).unbind(-1)
    pixels = (WIDE / 2 + scale * x, HIGH / 2 - scale * y)
    grid = {}
    for axis, (name, size, sign) in enumerate((("x", WIDE, 1), ("y", HIGH, -1))):
        reach = size / 2 / scale
        marks = MaxNLocator(6).tick_values(float(middle[axis]) - reach, float(middle[axis]) + reach)
        places = [
            (round(size / 2 + sign * scale * (mark - float(middle[axis])), 1), f"{mark:.6g}")
            for mark in marks
        ]
        grid[name] = [place for place in places if 0 < place[0] < size]
    points = [
        [round(value, 1) for place in zip(*path) for value in place]
        for path in zip(*(side.T.tolist() for side in pixels))
    ]
    number = {text: i for i, text in enumerate(texts)}
    return {
        "times": [round(t, 4) for t in times.tolist()],
        "points": points,
        "grid": grid,
        "texts": texts,
        "said": [[number[row[i]] for row in rows] for i in range(batch)],
    }


class Player:
    """Many paths in the plane, played over time; a path pointed at says its label at that time.

    Args:
        times: (time,).
        paths: (time, batch, 2).
        labels: A text for each path or for each (time, path).
        alt: What the picture shows, in words.
    """

    def __init__(
        self,
        times: Float[Tensor, " time"],
        paths: Float[Tensor, "time batch 2"],
        labels: Sequence[str] | Sequence[Sequence[str]],
        alt: str,
    ):
        self.times, self.paths, self.alt = times, paths, alt
        self.data = layout(times, paths, labels)

    def document(self) -> str:
        """The player as a page of its own, which needs nothing from elsewhere."""
        look = {
            "noise": style.NOISE,
            "data": style.DATA,
            "pointed": style.CONTROL,
            "grid": style.GRID,
            "ink": style.INK,
        }
        data = json.dumps({**self.data, "look": look}, separators=(",", ":")).replace(
            "<", "\\u003c"
        )
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Paths</title><style>{STYLE}</style>'
            f'<canvas tabindex="0" role="img" aria-label="{html.escape(self.alt)}" width="{WIDE}" height="{HIGH}">'
            f'</canvas><nav><button aria-label="play">▶</button><input type="range" aria-label="time" min="0" '
            f'max="{len(self.times) - 1}" value="0"><output></output></nav><p aria-live="polite"></p>'
            f'<script type="application/json">{data}</script><script>{SCRIPT.read_text()}</script></html>'
        )

    def page(self) -> str:
        """The player as a piece of HTML for `book.html`: the document in a frame of its own."""
        return (
            f'<iframe title="{html.escape(self.alt)}" sandbox="allow-scripts" width="{WIDE + 20}" height="{HIGH + 90}" '
            f'style="border:0" srcdoc="{html.escape(self.document())}"></iframe>'
        )

    def figure(self, moments: int = 3) -> Figure:
        """The same in print: where the points are at a few times, and the way they came."""
        figure, axes = panels(moments)
        last = len(self.times) - 1
        for i, axis in enumerate(axes):
            k = round(last * i / max(moments - 1, 1))
            for path in self.paths.transpose(0, 1).tolist():
                way = LineCollection(list(pairwise(path[: k + 1])), cmap=style.TIME, lw=0.8)
                way.set_array(self.times[:k].tolist())
                way.set_clim(float(self.times[0]), float(self.times[-1]))
                axis.add_collection(way)
            axis.scatter(*self.paths[k].T, s=9, color=style.TIME(k / last), zorder=3)
            axis.set(title=f"t = {float(self.times[k]):.2f}", aspect="equal")
            axis.update_datalim(self.paths.flatten(0, 1).tolist())
            axis.autoscale_view()
        return figure
