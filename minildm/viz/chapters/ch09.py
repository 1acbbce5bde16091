"""Chapter 09: a wrong word planted in an unfinished text, and which words it changes later."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
from jaxtyping import Int
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from ...tokens import SPECIALS
from ..core import style
from ..core.figures import panels
from ..core.frames import FrameStack
from ..core.knobs import Control

PAD, _, _, MASK = SPECIALS  # after the end, and not written yet
MARKS = {
    "not written yet": "#f4f4f4",
    "as without the error": "#c5d9e8",
    "another word": style.CONTROL,
    "the planted word": style.ERROR,
    "repaired": style.DATA,
    "replaced": style.VALUE,
}
EMPTY, SAME, OTHER, PLANTED, REPAIRED, REPLACED = range(len(MARKS))
WIDE = 340  # of the map in a frame, in pixels
HIGH = 150
STRONG = "".join(
    f".planted .m{k}{{color:{style.INK if k == OTHER else style.PAPER};background:{color}}}"
    for k, color in enumerate(MARKS.values())
    if k >= OTHER
)
CSS = (
    "<style>.planted{display:flex;flex-wrap:wrap;gap:4px 14px;"
    f"font:13px/1.7 sans-serif;{style.CARD}}}"
    ".planted .head{flex:1 1 100%}.planted .tale{flex:1 1 260px}"
    f".planted .map{{position:relative;width:{WIDE}px;height:{HIGH}px;flex:none}}"
    f".planted img{{width:{WIDE}px;height:{HIGH}px;image-rendering:pixelated}}"
    ".planted hr{position:absolute;left:0;right:0;margin:0;border:0;border-top:2px solid #222}"
    ".planted u{text-decoration:none}.planted i{font-style:normal;padding:0 3px;border-radius:3px}"
    f"{STRONG}</style>"
)


@dataclass(frozen=True)
class Planting:
    """Two runs of a model that differ in one word, which was planted in the second."""

    model: str
    position: int  # of the planted word
    word: str  # the planted one
    time: float  # at which it was planted
    times: Sequence[float]  # of the way, from the planting to 1
    right: list[list[str]]  # words by time and position, without the error
    wrong: list[list[str]]  # with it

    @property
    def length(self) -> int:
        """Words of the longer text at the end."""
        ends = zip(self.right[-1], self.wrong[-1])
        empty = {MASK, PAD}
        return max(
            (i + 1 for i, words in enumerate(ends) if not empty.issuperset(words)), default=0
        )


def marks(planting: Planting) -> Int[np.ndarray, "time position"]:
    """What became of each word of the longer text at each time: an index into MARKS."""
    place = planting.position
    right = np.array(planting.right)[:, : planting.length]
    wrong = np.array(planting.wrong)[:, : planting.length]
    found = np.where(wrong == MASK, EMPTY, np.where(wrong == right, SAME, OTHER))
    other = np.where(wrong[:, place] == right[:, place], REPAIRED, REPLACED)
    found[:, place] = np.where(wrong[:, place] == planting.word, PLANTED, other)
    return found


def changed(planting: Planting) -> Int[np.ndarray, " time"]:
    """How many words other than the planted one differ from the run without the error."""
    return (np.delete(marks(planting), planting.position, axis=1) == OTHER).sum(axis=1)


def pixels(planting: Planting) -> str:
    """The marks as a small PNG, one pixel a word and time, in base64."""
    file = io.BytesIO()
    image = Image.fromarray(marks(planting).astype(np.uint8), "P")
    image.putpalette([round(255 * part) for color in MARKS.values() for part in to_rgb(color)])
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def as_text(row: Sequence[str], row_marks: np.ndarray) -> str:
    """One moment's words as HTML: marked words on a color, and a line for each that is missing."""
    parts = []
    for word, mark in zip(row, row_marks):
        word = "·" if word == PAD else html.escape(word)
        if mark == EMPTY:
            word = "<u>_</u>"
        elif mark >= OTHER:
            word = f'<i class="m{mark}">{word}</i>'
        parts.append(word)
    return " ".join(parts)


class PlantedErrors:
    """Recorded plantings, picked by model, position and time, and followed step by step.

    Args:
        plantings: One for each model, position and time; a model whose time is fixed by the
            position has just one.
    """

    def __init__(self, plantings: list[Planting]):
        self.models = list(dict.fromkeys(p.model for p in plantings))
        self.positions = sorted({p.position for p in plantings})
        self.of = {
            (m, i): [p for p in plantings if (p.model, p.position) == (m, i)]
            for m in self.models
            for i in self.positions
        }
        self.times = max(([p.time for p in found] for found in self.of.values()), key=len)

    def at(self, model: str, position: int, time: float) -> Planting:
        """The planting at these knobs; a model with one time ignores the time."""
        found = self.of[model, position]
        return found[0] if len(found) == 1 else min(found, key=lambda p: abs(p.time - time))

    def page(self, planting: Planting, fraction: float) -> str:
        """A moment, after a fraction of the steps: the map of all marks, and the text."""
        last = len(planting.times)
        k = round(fraction * (last - 1))
        row = marks(planting)[k]
        count = int(changed(planting)[k])
        became = list(MARKS)[row[planting.position]]
        return (
            f'<div class="planted"><div class="head"><b>{planting.model}</b>, '
            f"{html.escape(planting.word)} planted at t = {planting.time:.2f}, "
            f"now t = {planting.times[k]:.2f}: it is {became}, "
            f"{count} other{'s' * (count != 1)} changed</div>"
            '<div class="map"><img alt="marks of all words over time" '
            f'src="data:image/png;base64,{pixels(planting)}">'
            f'<hr style="top:{100 * (k + 0.5) / last:.0f}%"></div>'
            f'<div class="tale">{as_text(planting.wrong[k], row)}</div></div>'
        )

    def frames(self, position: int, times: Sequence[float], moments: int = 9) -> FrameStack:
        """Frames that move without a kernel: each model at these planting times, by moments.

        Args:
            position: Of the planted word.
            times: Of the planting.
            moments: At most so many columns, and no more than the shortest way has moments, so that
                each is another picture.

        Returns:
            A `FrameStack`.
        """
        rows = []
        for planting in (self.at(model, position, time) for model in self.models for time in times):
            if planting not in rows:
                rows.append(planting)
        moments = min([moments, *(len(planting.times) for planting in rows)])
        fractions = [k / (moments - 1) for k in range(moments)]
        pages = [[self.page(planting, fraction) for fraction in fractions] for planting in rows]
        return FrameStack(pages, ("model", "way"), CSS)

    def figure(self, position: int, time: float) -> Figure:
        """The maps of all models in print: words from left to right, the way from top to bottom."""
        figure, axes = panels(len(self.models), height=2.5)
        for axis, model in zip(axes, self.models):
            planting = self.at(model, position, time)
            axis.imshow(
                marks(planting),
                cmap=ListedColormap(list(MARKS.values())),
                vmin=-0.5,
                vmax=len(MARKS) - 0.5,
                aspect="auto",
                interpolation="nearest",
                extent=(-0.5, planting.length - 0.5, planting.times[-1], planting.times[0]),
            )
            axis.set(xlabel="position of the word", title=f"{model}, from t = {planting.time:.2f}")
            axis.grid(False)
        axes[0].set_ylabel("time t")
        figure.legend(
            [Patch(facecolor=color) for color in MARKS.values()],
            MARKS,
            loc="outside lower center",
            ncols=6,
            fontsize=7,
            handlelength=1.0,
            columnspacing=1.0,
        )
        return figure

    def live(self) -> "LivePlanting":
        """The explorer with a kernel: model, position, time, and the way."""
        return LivePlanting(self)


class LivePlanting:
    """Controls of `PlantedErrors`: any model, position and time, with a player over the way."""

    def __init__(self, errors: PlantedErrors):
        self.errors = errors
        times = [(f"{t:.2f}", t) for t in errors.times]
        last = min(len(p.times) for found in errors.of.values() for p in found) - 1
        self.model: Control = widgets.Dropdown(options=errors.models, description="model")
        self.position: Control = widgets.Dropdown(options=errors.positions, description="position")
        self.time: Control = widgets.Dropdown(options=times, description="time")
        self.way: Control = widgets.IntSlider(0, 0, last, description="way", readout=False)
        self.play = widgets.Play(value=0, min=0, max=last, interval=250)
        self.link = widgets.jslink((self.play, "value"), (self.way, "value"))
        self.view = widgets.HTML()
        for knob in (self.model, self.position, self.time, self.way):
            knob.observe(self.redraw, "value")
        choices = widgets.HBox([self.model, self.position, self.time])
        player = widgets.HBox([self.play, self.way])
        self.box = widgets.VBox([choices, player, widgets.HTML(CSS), self.view])
        self.redraw()

    def redraw(self, change: Any = None) -> None:
        """Show the moment that the controls name; a model with one time offers no choice of it."""
        model, position = self.model.value, self.position.value
        self.time.disabled = len(self.errors.of[model, position]) == 1
        planting = self.errors.at(model, position, self.time.value)
        self.view.value = self.errors.page(planting, self.way.value / self.way.max)
