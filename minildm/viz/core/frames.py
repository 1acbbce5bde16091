"""Frames that are drawn beforehand, which sliders move with a kernel or without one."""

import base64
import hashlib
import html
from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np

from ...errors import UserError
from .figures import pack

MOST_FRAMES = 41
MOST_ROWS = 8
INTERVAL = 100  # of a player, in milliseconds a frame
COLORS = 24  # of a sheet


class Sheet:
    """Pictures of one size, one above the other in a single image, so that each is small.

    Args:
        pictures: Arrays (height, width, 4).
        alt: What they show, in words.
    """

    def __init__(self, pictures: Sequence[np.ndarray], alt: str):
        self.count = len(pictures)
        self.alt = alt
        self.height, self.width = pictures[0].shape[:2]
        data = pack(np.concatenate(pictures), COLORS)
        self.name = f"sheet-{hashlib.sha1(data).hexdigest()[:10]}"
        self.css = (
            f".{self.name}{{background:url(data:image/webp;base64,{base64.b64encode(data).decode()});"
            f"background-size:100% {100 * self.count}%;"
            f"width:{self.width}px;max-width:100%;border-radius:6px}}"
        )

    def svg(self, k: int) -> str:
        """The k-th picture as a piece of HTML, for a page that has the style `css`."""
        place = f"background-position:0 {100 * k / max(self.count - 1, 1):.6g}%"
        return (
            f'<svg class="{self.name}" role="img" aria-label="{html.escape(self.alt)}" '
            f'viewBox="0 0 {self.width} {self.height}" style="{place}"></svg>'
        )


class FrameStack:
    """A grid of HTML frames: a player runs over the columns, and a slider over the rows.

    Args:
        frames: By row and column, at most 8 rows and 41 columns.
        names: Of the row knob and the column knob.
        style: HTML that all frames share.

    Raises:
        UserError: When the grid is larger.
    """

    def __init__(
        self, frames: list[list[str]], names: tuple[str, str] = ("text", "time"), style: str = ""
    ):
        columns = len(frames[0])
        if columns > MOST_FRAMES or len(frames) > MOST_ROWS:
            raise UserError(
                f"a stack of {len(frames)} x {columns} frames makes a page heavy: "
                f"use at most {MOST_ROWS} x {MOST_FRAMES}"
            )
        first = widgets.HTML(frames[0][0])
        shared = {"layout": first.layout, "style": first.style}  # for a smaller page
        rows = [
            widgets.Stack([widgets.HTML(frame, **shared) for frame in row], selected_index=0)
            for row in frames
        ]
        self.stack = widgets.Stack(rows, selected_index=0)
        self.row = widgets.IntSlider(0, 0, len(frames) - 1, description=names[0], readout=False)
        self.column = widgets.IntSlider(0, 0, columns - 1, description=names[1], readout=False)
        self.play = widgets.Play(value=0, min=0, max=columns - 1, interval=INTERVAL)
        self.links = [
            *(widgets.jslink((self.column, "value"), (row, "selected_index")) for row in rows),
            widgets.jslink((self.row, "value"), (self.stack, "selected_index")),
            widgets.jslink((self.play, "value"), (self.column, "value")),
        ]
        knobs = [self.play, self.column] + [self.row] * (len(frames) > 1)
        self.box = widgets.VBox([widgets.HBox(knobs), widgets.HTML(style), self.stack])
