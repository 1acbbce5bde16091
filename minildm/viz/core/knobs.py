"""An explorer made of two functions: knobs -> arrays, which a test can call, and arrays -> figure."""

import base64
import html
import io
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ...errors import UserError
from .frames import FrameStack, Sheet

DPI = 80  # of live pictures and of frames
BUSY = (
    "<style>.computing{animation:late 0s 0.3s both}@keyframes late{from{visibility:hidden}to{visibility:visible}}</style>"
    '<div class="computing" role="status">computing …</div>'
)  # is seen when a picture takes longer than 0.3 s


def label(value: Hashable) -> str:
    """A knob's value in a few letters: 0.30000000000000004 is 0.3."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def numbers(values: Iterable[Hashable]) -> bool:
    """Whether a knob's values are numbers."""
    return all(isinstance(value, float | int) for value in values)


def ordered(values: Sequence[Hashable]) -> list:
    """A knob's values: numbers from small to large, words as they stand."""
    return sorted(values) if numbers(values) else list(values)


def control(name: str, values: Sequence[Hashable]) -> widgets.Widget:
    """A slider over numbers, from small to large, or a menu of words; it starts at the first value."""
    kind = widgets.SelectionSlider if numbers(values) else widgets.Dropdown
    return kind(
        options=[(label(value), value) for value in ordered(values)],
        value=values[0],
        description=name,
    )


def row(controls: Iterable[widgets.Widget]) -> widgets.HBox:
    """Controls beside each other, on more lines where there is no room."""
    return widgets.HBox(list(controls), layout={"flex_flow": "row wrap"})


def pixels(figure: Figure, dpi: int) -> np.ndarray:
    """A figure as an image (height, width, 4)."""
    figure.set_dpi(dpi)
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())


class Layout:
    """Places of axes that are found once: pictures of one explorer do not jump, and are drawn
    faster.
    """

    def __init__(self):
        self.places = []

    def pixels(self, figure: Figure) -> np.ndarray:
        """A figure as an image (height, width, 4), its axes where those of the first were."""
        if not self.places:
            figure.set_dpi(DPI)
            figure.draw_without_rendering()
            self.places = [axes.get_position() for axes in figure.axes]
        figure.set_layout_engine("none")
        for axes, place in zip(figure.axes, self.places):
            axes.set_position(place)
        return pixels(figure, DPI)


class Explorer:
    """One picture with knobs: live with a kernel, over pre-rendered frames without one, and still
    in print.

    Args:
        state: A pure function of the knobs by name -> anything.
        draw: What it returned -> a figure.
        knobs: Name -> the values of its control, the first being where it starts.
        alt: What the picture shows, in words.
        between: Names of knobs for which a figure or a frame may take any number between the
            smallest and the largest value.
    """

    def __init__(
        self,
        state: Callable[..., Any],
        draw: Callable[[Any], Figure],
        knobs: dict[str, Sequence[Hashable]],
        alt: str,
        between: Sequence[str] = (),
    ):
        self.state, self.draw, self.knobs, self.alt, self.between = state, draw, knobs, alt, between
        self.start = {name: values[0] for name, values in knobs.items()}
        self.seen = {}

    def listed(self, name: str, value: Hashable) -> Hashable:
        """The value of a knob that reads like this one; raises UserError where there is none."""
        if name not in self.knobs:
            raise UserError(f"there is no knob {name!r}: choose among {', '.join(self.knobs)}")
        values = {label(v): v for v in self.knobs[name]}
        if label(value) in values:
            return values[label(value)]
        if name not in self.between:
            raise UserError(f"{name} cannot be {label(value)}: choose among {', '.join(values)}")
        low, high = min(values.values()), max(values.values())
        if not (numbers([value]) and low <= value <= high):
            raise UserError(
                f"{name} cannot be {label(value)}: choose a number from {label(low)} to {label(high)}"
            )
        return value

    def at(self, **values) -> Any:
        """The state at these knobs, others where they start; computed once."""
        key = tuple(
            {
                **self.start,
                **{name: self.listed(name, value) for name, value in values.items()},
            }.items()
        )
        if key not in self.seen:
            self.seen[key] = self.state(**dict(key))
        return self.seen[key]

    def figure(self, **values) -> Figure:
        """The still picture at these knobs, others where they start."""
        return self.draw(self.at(**values))

    def frames(
        self,
        column: str,
        row: str | None = None,
        columns: Sequence | None = None,
        rows: Sequence | None = None,
        **fixed,
    ) -> FrameStack:
        """Frames over one knob or two that move without a kernel; `columns` and `rows` are by
        default all their values.
        """
        columns = ordered(self.knobs[column]) if columns is None else columns
        rows = rows or (ordered(self.knobs[row]) if row else [None])
        pages, css, layout = [], "", Layout()
        for b in rows:
            asked = [{**fixed, column: a, **({row: b} if row else {})} for a in columns]
            sheet = Sheet([layout.pixels(self.figure(**knobs)) for knobs in asked], self.alt)
            pages.append(
                [
                    f"<div>{', '.join(f'{name} = {label(value)}' for name, value in knobs.items())}</div>{sheet.svg(k)}"
                    for k, knobs in enumerate(asked)
                ]
            )
            css += sheet.css
        return FrameStack(pages, names=(row or "", column), style=f"<style>{css}</style>")

    def control(self, name: str) -> widgets.Widget:
        """The widget of a knob."""
        return control(name, self.knobs[name])

    def live(self) -> "Live":
        """The explorer with a kernel: any value of any knob."""
        return Live(self)


class Live:
    """A control for each knob of an `Explorer` and the picture they make; values change it with or
    without a browser.
    """

    def __init__(self, explorer: Explorer):
        self.explorer = explorer
        self.knobs = {name: explorer.control(name) for name in explorer.knobs}
        self.view, self.note, self.layout = (
            widgets.HTML(),
            widgets.HTML(layout={"min_height": "24px"}),
            Layout(),
        )
        for knob in self.knobs.values():
            knob.observe(self.redraw, "value")
        self.box = widgets.VBox(self.arranged())
        self.redraw()

    def arranged(self) -> list[widgets.Widget]:
        """What stands below each other."""
        return [row(self.knobs.values()), self.note, self.view]

    def redraw(self, change=None) -> None:
        """Paint the picture that the knobs name; meanwhile a sign says so. Where it cannot be, a
        sentence says why.
        """
        self.note.value, said = BUSY, ""
        try:
            self.paint({name: knob.value for name, knob in self.knobs.items()})
        except UserError as mistake:
            said = f'<div role="status">{html.escape(str(mistake))}</div>'
        finally:
            self.note.value = said

    def paint(self, values: dict[str, Hashable]) -> None:
        """Draw the picture at these values."""
        png, drawn = io.BytesIO(), self.layout.pixels(self.explorer.figure(**values))
        image = (
            Image.fromarray(drawn).convert("RGB").quantize(128, method=Image.Quantize.FASTOCTREE)
        )
        image.save(png, "PNG", compress_level=1)
        data = base64.b64encode(png.getvalue()).decode()
        self.view.value = (
            f'<img style="border-radius:6px" alt="{html.escape(self.explorer.alt)}" '
            f'src="data:image/png;base64,{data}">'
        )
