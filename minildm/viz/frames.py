"""FrameStack: a slider or two moved in the front end over pre-rendered frames, with a kernel or without."""

import ipywidgets as widgets

from ..errors import UserError

MOST_FRAMES, MOST_ROWS = 41, 8


class FrameStack:
    """A grid of HTML frames, `frames[row][column]`: a player runs over the columns, a slider over the rows.

    Args: `frames`, at most 41 columns; `names` of the row and the column knob. Raises UserError on a larger grid.
    """

    def __init__(self, frames: list[list[str]], names: tuple[str, str] = ("text", "time"), style: str = ""):
        columns = len(frames[0])
        if columns > MOST_FRAMES or len(frames) > MOST_ROWS:
            raise UserError(f"a stack of {len(frames)} x {columns} frames makes a page heavy: "
                            f"use at most {MOST_ROWS} x {MOST_FRAMES}")
        first = widgets.HTML(frames[0][0])
        shared = {"layout": first.layout, "style": first.style}  # a stack of one look is a smaller page
        rows = [widgets.Stack([widgets.HTML(frame, **shared) for frame in row], selected_index=0) for row in frames]
        self.stack = widgets.Stack(rows, selected_index=0)
        self.row = widgets.IntSlider(0, 0, len(frames) - 1, description=names[0], readout=False)
        self.column = widgets.IntSlider(0, 0, columns - 1, description=names[1], readout=False)
        self.play = widgets.Play(value=0, min=0, max=columns - 1, interval=350)
        self.links = [widgets.jslink((self.column, "value"), (row, "selected_index")) for row in rows]
        self.links += [widgets.jslink((self.row, "value"), (self.stack, "selected_index")),
                       widgets.jslink((self.play, "value"), (self.column, "value"))]
        knobs = [self.play, self.column] + [self.row] * (len(frames) > 1)
        self.box = widgets.VBox([widgets.HBox(knobs), widgets.HTML(style), self.stack])
