"""A player of many paths on one canvas, with a kernel or without one."""

import html
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ...errors import UserError
from . import style
from .figures import panels

WIDE = 640  # of the canvas, in pixels
HIGH = 380
MARGIN = 32
MOST_POINTS = 20_000
MOST_LETTERS = 200_000
SCRIPT = Path(__file__).with_suffix(".js")
STYLE = f"""body{{margin:0;font:13px sans-serif;color:{style.INK};background:{style.PAPER}}}
canvas{{display:block;touch-action:none}}
nav{{display:flex;gap:8px;align-items:center;width:{WIDE}px}}
nav input{{flex:1}} output{{min-width:5em}} p{{margin:4px 0;min-height:3em;max-width:{WIDE}px}}"""

Labels = Sequence[str] | Sequence[Sequence[str]]


def marks(middle: float, scale: float, size: int) -> list[tuple[float, str]]:
    """Round numbers along an axis of the canvas.

    Args:
        middle: The number in the middle of the axis.
        scale: Pixels a unit, negative where numbers rise against the pixels.
        size: Pixels of the axis.

    Returns:
        (pixel, name) of each.
    """
    reach = size / 2 / abs(scale)
    ticks = MaxNLocator(6).tick_values(middle - reach, middle + reach)
    places = [(round(size / 2 + scale * (tick - middle), 1), f"{tick:.6g}") for tick in ticks]
    return [place for place in places if 0 < place[0] < size]


def layout(
    times: Float[Tensor, " time"], paths: Float[Tensor, "time batch 2"], labels: Labels
) -> dict:
    """What the canvas draws: paths in pixels, lines of a grid, and each text once.

    Both axes have one scale.

    Args:
        times: Of the points of the paths.
        paths: Points in the plane.
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
            f"{steps} x {batch} points need {steps} times and {batch} labels, "
            f"or {steps} rows of {batch} labels"
        )
    number = {}  # text -> its place in the list of texts
    said = [[number.setdefault(row[i], len(number)) for row in rows] for i in range(batch)]
    letters = sum(map(len, number))
    if steps * batch > MOST_POINTS or letters > MOST_LETTERS:
        raise UserError(
            f"a player of {steps} x {batch} points and {letters} letters makes a page heavy: "
            f"use at most {MOST_POINTS} points and {MOST_LETTERS} letters"
        )
    flat = paths.double().flatten(0, 1)
    if not flat.isfinite().all():
        raise UserError("a path leaves the plane: every point needs two finite numbers")
    low, high = flat.aminmax(dim=0)
    x, y = ((low + high) / 2).tolist()
    width, height = (high - low).clamp(min=1e-9).tolist()
    scale = min((WIDE - 2 * MARGIN) / width, (HIGH - 2 * MARGIN) / height)
    origin = torch.tensor([WIDE / 2 - scale * x, HIGH / 2 + scale * y], dtype=flat.dtype)
    pixels = origin + torch.tensor([scale, -scale], dtype=flat.dtype) * paths
    return {
        "times": [round(t, 4) for t in times.tolist()],
        "points": [
            [round(value, 1) for value in path]
            for path in pixels.transpose(0, 1).flatten(1).tolist()
        ],
        "grid": {"x": marks(x, scale, WIDE), "y": marks(y, -scale, HIGH)},
        "texts": list(number),
        "said": said,
    }


class Player:
    """Many paths in the plane, played over time; a path that is pointed at shows its label.

    Args:
        times: Of the points of the paths.
        paths: Points in the plane.
        labels: A text for each path, or for each time and path.
        alt: What the picture shows, in words.
    """

    def __init__(
        self,
        times: Float[Tensor, " time"],
        paths: Float[Tensor, "time batch 2"],
        labels: Labels,
        alt: str,
    ):
        self.times = times
        self.paths = paths
        self.alt = alt
        self.data = layout(times, paths, labels)

    def document(self) -> str:
        """The player as a page of its own, which needs nothing from elsewhere."""
        colors = {
            "noise": style.NOISE,
            "data": style.DATA,
            "pointed": style.CONTROL,
            "grid": style.GRID,
            "ink": style.INK,
        }
        data = json.dumps({**self.data, "colors": colors}, separators=(",", ":"))
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            f"<title>Paths</title><style>{STYLE}</style>"
            f'<canvas tabindex="0" role="img" aria-label="{html.escape(self.alt)}" '
            f'width="{WIDE}" height="{HIGH}"></canvas><nav><button aria-label="play">▶</button>'
            '<input type="range" aria-label="time" min="0" '
            f'max="{len(self.times) - 1}" value="0"><output></output></nav>'
            '<p aria-live="polite"></p>'
            f'<script type="application/json">{data.replace("<", chr(92) + "u003c")}</script>'
            f"<script>{SCRIPT.read_text()}</script></html>"
        )

    def page(self) -> str:
        """The player as a piece of HTML for `book.html`: the document in a frame of its own."""
        return (
            f'<iframe title="{html.escape(self.alt)}" sandbox="allow-scripts" '
            f'width="{WIDE + 20}" height="{HIGH + 90}" '
            f'style="border:0" srcdoc="{html.escape(self.document())}"></iframe>'
        )

    def figure(self, moments: int = 3) -> Figure:
        """The paths in print: the points at a few times, each with its path so far."""
        figure, axes = panels(moments)
        last = len(self.times) - 1
        for i, axis in enumerate(axes):
            k = round(last * i / max(moments - 1, 1))
            for path in self.paths.transpose(0, 1).tolist():
                segments = LineCollection(list(pairwise(path[: k + 1])), cmap=style.TIME, lw=0.8)
                segments.set_array(self.times[:k].tolist())
                segments.set_clim(float(self.times[0]), float(self.times[-1]))
                axis.add_collection(segments)
            axis.scatter(*self.paths[k].T, s=9, color=style.TIME(k / last), zorder=3)
            axis.set(title=f"t = {float(self.times[k]):.2f}", aspect="equal")
            axis.update_datalim(self.paths.flatten(0, 1).tolist())
            axis.autoscale_view()
        return figure
