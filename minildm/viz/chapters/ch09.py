"""Planted errors: a wrong word in an unfinished text, and what it changes on the way to the
finished one.
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from ...tokens import SPECIALS
from ..core import style
from ..core.figures import panels
from ..core.frames import FrameStack

PAD, _, _, MASK = SPECIALS  # behind the end; not written yet
MARKS = {
    "not written yet": "#f4f4f4",
    "as without the error": "#c5d9e8",
    "another word": style.CONTROL,
    "the planted word": style.ERROR,
    "repaired": style.DATA,
    "replaced": style.VALUE,
}
EMPTY, SAME, OTHER, PLANTED, REPAIRED, REPLACED = range(len(MARKS))
WIDE, HIGH = 340, 150  # of the map in a frame, in pixels
CSS = (
    f"<style>.planted{{display:flex;flex-wrap:wrap;gap:4px 14px;font:13px/1.7 sans-serif;{style.CARD}}}"
    ".planted .head{flex:1 1 100%}.planted .tale{flex:1 1 260px}"
    f".planted .map{{position:relative;width:{WIDE}px;height:{HIGH}px;flex:none}}"
    f".planted img{{width:{WIDE}px;height:{HIGH}px;image-rendering:pixelated}}"
    ".planted hr{position:absolute;left:0;right:0;margin:0;border:0;border-top:2px solid #222}"
    ".planted u{text-decoration:none}.planted i{font-style:normal;padding:0 3px;border-radius:3px}"
    + "".join(
        f".planted .m{k}{{color:{style.INK if k == OTHER else style.PAPER};background:{color}}}"
        for k, color in enumerate(MARKS.values())
        if k >= OTHER
    )
    + "</style>"
)


@dataclass(frozen=True)
class Planting:
    """Two runs of a model that differ in one word: the words at each time of the way, without the
    error and with it.
    """

    model: str
    position: int  # of the planted word
    word: str  # the planted one
    time: float  # at which it was planted
    times: Sequence[float]  # of the way, from the planting to 1
    right: list[list[str]]  # by time and position, without the error
    wrong: list[list[str]]  # with it

    @property
    def length(self) -> int:
        """Words of the longer text at the end."""
        return max(
            len(row)
            - next((i for i, word in enumerate(reversed(row)) if word not in (MASK, PAD)), len(row))
            for row in (self.right[-1], self.wrong[-1])
        )


def marks(planting: Planting) -> np.ndarray:
    """What became of each word at each time: an index into MARKS.

    Args: `planting`. Returns integers (time, position), as far as the longer text goes.
    """
    right, wrong = (
        np.array(rows)[:, : planting.length] for rows in (planting.right, planting.wrong)
    )
    seen = np.where(wrong == MASK, EMPTY, np.where(wrong == right, SAME, OTHER))
    here, place = wrong[:, planting.position], planting.position
    seen[:, place] = np.where(
        here == planting.word, PLANTED, np.where(here == right[:, place], REPAIRED, REPLACED)
    )
    return seen


def changed(planting: Planting) -> np.ndarray:
    """How many words other than the planted one differ from the run without the error, at each time
    (time,).
    """
    return (np.delete(marks(planting), planting.position, axis=1) == OTHER).sum(axis=1)


def pixels(planting: Planting) -> str:
    """The marks as a small PNG, one pixel a word and time, in base64."""
    image, file = Image.fromarray(marks(planting).astype(np.uint8), "P"), io.BytesIO()
    image.putpalette([round(255 * part) for color in MARKS.values() for part in to_rgb(color)])
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def as_text(row: Sequence[str], row_marks: np.ndarray) -> str:
    """One moment's words as HTML: marked words on a color, unwritten ones as dots."""
    parts = []
    for word, mark in zip(row, row_marks):
        word = "·" if word == PAD else html.escape(word)
        parts.append(
            "<u>_</u>"
            if mark == EMPTY
            else f'<i class="m{mark}">{word}</i>'
            if mark >= OTHER
            else word
        )
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

    def page(self, planting: Planting, share: float) -> str:
        """A moment of the way, after a share of its steps: the map of all marks, and the text."""
        k, seen = round(share * (len(planting.times) - 1)), marks(planting)
        count, last = int(changed(planting)[k]), len(planting.times)
        became = list(MARKS)[seen[k, planting.position]]
        return (
            f'<div class="planted"><div class="head"><b>{planting.model}</b>, {html.escape(planting.word)} planted at t = '
            f"{planting.time:.2f}, now t = {planting.times[k]:.2f}: it is {became}, "
            f"{count} other{'s' * (count != 1)} changed</div>"
            f'<div class="map"><img alt="marks of all words over time" '
            f'src="data:image/png;base64,{pixels(planting)}"><hr style="top:{100 * (k + 0.5) / last:.0f}%"></div>'
            f'<div class="tale">{as_text(planting.wrong[k], seen[k])}</div></div>'
        )

    def frames(self, position: int, times: Sequence[float], moments: int = 9) -> FrameStack:
        """Pre-rendered frames that move without a kernel: each model at these planting times, by
        moments of the way.

        There are at most `moments` columns, and no more than the shortest way has moments, so that
        each is another picture.
        """
        rows = []
        for planting in (self.at(model, position, time) for model in self.models for time in times):
            if planting not in rows:
                rows.append(planting)
        moments = min([moments, *(len(planting.times) for planting in rows)])
        return FrameStack(
            [[self.page(p, k / (moments - 1)) for k in range(moments)] for p in rows],
            ("model", "way"),
            CSS,
        )

    def figure(self, position: int, time: float) -> Figure:
        """The maps of all models in print: words from left to right, the way from top to bottom."""
        figure, axes = panels(len(self.models), height=2.5)
        for axis, model in zip(axes, self.models):
            planting = self.at(model, position, time)
            axis.imshow(
                marks(planting),
                cmap=ListedColormap(MARKS.values()),
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
        last = (
            min(len(p.times) for found in errors.of.values() for p in found) - 1
        )  # each step of the player is a new moment
        self.model = widgets.Dropdown(options=errors.models, description="model")
        self.position = widgets.Dropdown(options=errors.positions, description="position")
        self.time = widgets.Dropdown(
            options=[(f"{t:.2f}", t) for t in errors.times], description="time"
        )
        self.way = widgets.IntSlider(0, 0, last, description="way", readout=False)
        self.play = widgets.Play(value=0, min=0, max=last, interval=250)
        self.link = widgets.jslink((self.play, "value"), (self.way, "value"))
        self.view = widgets.HTML()
        for knob in (self.model, self.position, self.time, self.way):
            knob.observe(self.redraw, "value")
        self.box = widgets.VBox(
            [
                widgets.HBox([self.model, self.position, self.time]),
                widgets.HBox([self.play, self.way]),
                widgets.HTML(CSS),
                self.view,
            ]
        )
        self.redraw()

    def redraw(self, change=None) -> None:
        """Show the moment that the controls name; a time that the model does not have cannot be
        chosen.
        """
        knobs = self.model.value, self.position.value
        self.time.disabled = len(self.errors.of[knobs]) == 1
        self.view.value = self.errors.page(
            self.errors.at(*knobs, self.time.value), self.way.value / self.way.max
        )
