"""Explorers of two functions: knobs -> arrays, which a test can call, and arrays -> figure."""

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ...errors import UserError
from .frames import FrameStack, Sheet

DPI = 80  # of live pictures and of frames
BUSY = (
    "<style>.computing{animation:late 0s 0.3s both}"
    "@keyframes late{from{visibility:hidden}to{visibility:visible}}</style>"
    '<div class="computing" role="status">computing …</div>'
)  # is seen when a picture takes longer than 0.3 s

Value = str | float  # of a knob
Control = Any  # a widget of ipywidgets, whose traits a type checker does not see


def label(value: Value) -> str:
    """A knob's value in a few letters: 0.30000000000000004 is 0.3."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def numbers(values: Iterable[Value]) -> bool:
    """Whether a knob's values are numbers."""
    return all(isinstance(value, float | int) for value in values)


def ordered(values: Sequence[Value]) -> list[Value]:
    """A knob's values: numbers from small to large, names in the order that they are listed."""
    return sorted(values, key=float) if numbers(values) else list(values)


def control(name: str, values: Sequence[Value]) -> Control:
    """A slider over numbers, or a menu of names; it starts at the first value."""
    widget = widgets.SelectionSlider if numbers(values) else widgets.Dropdown
    options = [(label(value), value) for value in ordered(values)]
    return widget(options=options, value=values[0], description=name)


def side_by_side(controls: Iterable[Control]) -> widgets.HBox:
    """Controls beside each other, on more lines where there is no room."""
    return widgets.HBox(list(controls), layout={"flex_flow": "row wrap"})


def pixels(figure: Figure, dpi: int) -> np.ndarray:
    """Draw a figure as an image (height, width, 4)."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


class Layout:
    """Keeps the axes of an explorer where they were in its first picture, which is also faster."""

    def __init__(self):
        self.places = []

    def pixels(self, figure: Figure) -> np.ndarray:
        """Draw a figure as an image (height, width, 4), with its axes where the first had them."""
        if not self.places:
            figure.set_dpi(DPI)
            figure.draw_without_rendering()
            self.places = [axes.get_position() for axes in figure.axes]
        figure.set_layout_engine("none")
        for axes, place in zip(figure.axes, self.places):
            axes.set_position(place)
        return pixels(figure, DPI)


class Explorer:
    """One picture with knobs: live with a kernel, as frames without one, and as a figure in print.

    Args:
        state: A pure function of the knobs by name; it returns what `draw` needs.
        draw: A function from what `state` returned to a figure.
        knobs: The values of each knob by its name; a knob starts at the first one.
        alt: What the picture shows, in words.
        between: Names of knobs for which a figure or a frame may take any number between the
            smallest and the largest value.
    """

    def __init__(
        self,
        state: Callable[..., Any],
        draw: Callable[[Any], Figure],
        knobs: dict[str, Sequence[Value]],
        alt: str,
        between: Sequence[str] = (),
    ):
        self.state = state
        self.draw = draw
        self.knobs = knobs
        self.alt = alt
        self.between = between
        self.start = {name: values[0] for name, values in knobs.items()}
        self.seen = {}

    def listed(self, name: str, value: Value) -> Value:
        """The value of a knob that reads like this one.

        Raises:
            UserError: When there is no such knob or value.
        """
        if name not in self.knobs:
            raise UserError(f"there is no knob {name!r}: choose among {', '.join(self.knobs)}")
        values = {label(v): v for v in self.knobs[name]}
        asked = label(value)
        if asked in values:
            return values[asked]
        if name not in self.between:
            raise UserError(f"{name} cannot be {asked}: choose among {', '.join(values)}")
        low, *_, high = ordered(self.knobs[name])
        if numbers([value]) and float(low) <= float(value) <= float(high):
            return value
        raise UserError(
            f"{name} cannot be {asked}: choose a number from {label(low)} to {label(high)}"
        )

    def at(self, **values: Value) -> Any:
        """The state at these knobs, with all others where they start; computed once."""
        asked = self.start | {name: self.listed(name, value) for name, value in values.items()}
        key = tuple(asked.items())
        if key not in self.seen:
            self.seen[key] = self.state(**asked)
        return self.seen[key]

    def figure(self, **values: Value) -> Figure:
        """The figure at these knobs, with all others where they start."""
        return self.draw(self.at(**values))

    def asked(
        self,
        column: str,
        row: str | None,
        columns: Sequence[Value] | None,
        rows: Sequence[Value] | None,
        fixed: dict[str, Value],
    ) -> list[list[dict[str, Value]]]:
        """The knobs of each frame by row and column; by default all values, from small to large."""
        columns = ordered(self.knobs[column]) if columns is None else columns
        if row is None:
            return [[{**fixed, column: a} for a in columns]]
        rows = rows or ordered(self.knobs[row])
        return [[{**fixed, column: a, row: b} for a in columns] for b in rows]

    def frames(
        self,
        column: str,
        row: str | None = None,
        columns: Sequence[Value] | None = None,
        rows: Sequence[Value] | None = None,
        **fixed: Value,
    ) -> FrameStack:
        """Frames over one knob or two that move without a kernel.

        Args:
            column: The knob that a player runs over.
            row: The knob of a second slider.
            columns: Values of the first knob, by default all.
            rows: Values of the second, by default all.
            fixed: Values of other knobs.

        Returns:
            A `FrameStack`.
        """
        pages = []
        css = ""
        layout = Layout()
        for line in self.asked(column, row, columns, rows, fixed):
            sheet = Sheet([layout.pixels(self.figure(**knobs)) for knobs in line], self.alt)
            names = [", ".join(f"{k} = {label(v)}" for k, v in knobs.items()) for knobs in line]
            pages.append([f"<div>{name}</div>{sheet.svg(k)}" for k, name in enumerate(names)])
            css += sheet.css
        return FrameStack(pages, names=(row or "", column), style=f"<style>{css}</style>")

    def control(self, name: str) -> Control:
        """The widget of a knob."""
        return control(name, self.knobs[name])

    def live(self) -> "Live":
        """The explorer with a kernel: any value of any knob."""
        return Live(self)


class Live:
    """A control for each knob of an `Explorer`, and the picture that they make.

    Values change the picture with or without a browser.
    """

    def __init__(self, explorer: Explorer):
        self.explorer = explorer
        self.knobs = {name: explorer.control(name) for name in explorer.knobs}
        self.view = widgets.HTML()
        self.note = widgets.HTML(layout={"min_height": "24px"})
        self.layout = Layout()
        for knob in self.knobs.values():
            knob.observe(self.redraw, "value")
        self.box = widgets.VBox(self.arranged())
        self.redraw()

    def arranged(self) -> list[Control]:
        """The parts of the explorer, from top to bottom."""
        return [side_by_side(self.knobs.values()), self.note, self.view]

    def redraw(self, change: Any = None) -> None:
        """Paint the picture that the knobs name, and say so while it is computed.

        Where it cannot be computed, a sentence says why.
        """
        message = ""
        self.note.value = BUSY
        try:
            self.paint({name: knob.value for name, knob in self.knobs.items()})
        except UserError as mistake:
            message = f'<div role="status">{html.escape(str(mistake))}</div>'
        finally:
            self.note.value = message

    def paint(self, values: dict[str, Value]) -> None:
        """Draw the picture at these values."""
        drawn = Image.fromarray(self.layout.pixels(self.explorer.figure(**values)))
        png = io.BytesIO()
        image = drawn.convert("RGB").quantize(128, method=Image.Quantize.FASTOCTREE)
        image.save(png, "PNG", compress_level=1)
        data = base64.b64encode(png.getvalue()).decode()
        self.view.value = (
            f'<img style="border-radius:6px" alt="{html.escape(self.explorer.alt)}" '
            f'src="data:image/png;base64,{data}">'
        )
