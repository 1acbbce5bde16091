"""The trajectory explorer: texts of any model on their way, left alone or disturbed once."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from ..core.frames import INTERVAL, FrameStack
from ..core.knobs import Control, Explorer, Live, Value, control, label, side_by_side
from . import excerpts
from . import page as pages
from .drawing import draw
from .page import View
from .scenes import Shown, Writer, scene_of

DISTURBANCES = {"moment": (0.5, 0.25, 0.75), "size": (0, 1, 2, 4), "direction": (0, 1, 2, 3)}
TEXTS = (0, 1, 2, 3)
SEEDS = (0, 1, 2, 3)
TIMES = (1.0, *(k / 32 for k in range(32)))  # fractions of the steps
STEPS = (32, 8, 16, 64)
FRAMES = [k / 20 for k in range(21)]  # of the time
# The slider's last place: of any number of steps up to 10, and of 16, 20, 32, 50, 63, 64 and 100.
LAST = 100_800
LABELS = {"moment": "disturbed at", "text": "follow text"}  # of knobs, where not their names
# of a disturbance: standard deviations of latents, or a number of words
SIZES = {True: "size (std)", False: "size (words)"}
# of controls, in pixels
WIDTHS = {"model": 210, "prompt": 270, "seed": 120, "text": 220, "solver": 210, "time": 460}
DISTURBANCE = (
    '<div style="line-height:1.4"><b>Disturbance.</b> Once on its way, each text is displaced: its '
    "latents by random numbers of this standard deviation, or, in a model of words, so many "
    "written words are replaced. The <i>closed loop</i> goes on from there, the <i>plan "
    "replayed</i> repeats the recorded steps. <i>direction</i> picks one of four random ones.</div>"
)
ALT = (
    "Left, a plane with a cloud of real texts, the paths of four texts and, after a disturbance, "
    "one path with the loop closed and one by the replayed plan; right, the texts, words shaded by "
    "how long they have not changed and marked; below, three curves over time."
)


def with_first(first: Value, others: Sequence[Value]) -> tuple[Value, ...]:
    """The values of a knob that starts at `first`, each once."""
    return tuple(dict.fromkeys((first, *others)))


class TrajectoryExplorer(Explorer):
    """Texts travelling through a plane: pages of HTML, whose words can be read, and a figure.

    Its knobs are model, prompt, seed, solver, steps, text, time, and a disturbance's moment, size
    and direction. A prompt may be any text, and a seed any number up to 9999.

    Args:
        writers: Name of a model -> `Writer`; the first model is shown first.
        size: Of the first disturbance, 0 for none.
        solver: The first solver.
        steps: The first number of steps.
    """

    def __init__(
        self, writers: dict[str, Writer], size: int = 0, solver: str = "ancestral", steps: int = 32
    ):
        self.writers = writers
        self.scenes = {}
        self.views = {}
        solvers = [name for writer in writers.values() for name in writer.solvers]
        knobs = {
            "model": tuple(writers),
            "prompt": ("",),
            "seed": SEEDS,
            "solver": with_first(solver, solvers),
            "steps": with_first(steps, STEPS),
            "text": TEXTS,
            "time": TIMES,
            **DISTURBANCES,
            "size": with_first(size, DISTURBANCES["size"]),
        }
        super().__init__(self.shown, draw, knobs, ALT, between=("time", "moment"))

    def listed(self, name: str, value: Value) -> Value:
        """The value of a knob; any prompt and any seed may be asked for."""
        return value if name in ("prompt", "seed") else super().listed(name, value)

    def shown(self, model: str, text: int, time: float, **asked: Any) -> Shown:
        """What a picture shows at these knobs; the paths of a run are computed once."""
        writer = self.writers[model]
        key = (model, *asked.items())
        if key not in self.scenes:
            paths, at = writer.paths(**asked)
            self.scenes[key] = scene_of(
                paths, at, model, writer.cloud, writer.log_snr, writer.pieces
            )
        scene = self.scenes[key]
        return Shown(scene, text, round(time * (len(scene.times) - 1)))

    def view(self, page: str, **knobs: Value) -> tuple[View, int]:
        """The view at these knobs on a page of this name, and the index of its time."""
        shown = self.at(**knobs)
        key = page, id(shown.scene), shown.text
        if key not in self.views:
            self.views[key] = View(shown.scene, shown.text, f"{page}-{len(self.views)}")
        return self.views[key], shown.k

    def frames(
        self,
        column: str = "time",
        row: str | None = None,
        columns: Sequence[Value] | None = None,
        rows: Sequence[Value] | None = None,
        **fixed: Value,
    ) -> FrameStack:
        """Frames over one knob or two that move without a kernel, by default over 21 times.

        Args:
            column: The knob that a player runs over.
            row: The knob of a second slider.
            columns: Values of the first knob, by default all.
            rows: Values of the second, by default all.
            fixed: Values of other knobs.

        Returns:
            A `FrameStack`.
        """
        if column == "time" and columns is None:
            columns = FRAMES
        name = f"frames{len(self.views)}"
        css = {}
        grid = []
        for line in self.asked(column, row, columns, rows, fixed):
            grid.append([])
            for knobs in line:
                view, k = self.view(name, **knobs)
                css[view] = view.css
                asked = [(knob, value) for knob, value in knobs.items() if knob != "time"]
                about = ", ".join(f"{LABELS.get(a, a)} = {label(value)}" for a, value in asked)
                grid[-1].append(f"<div>{about}</div>{view.page(k)}")
        style = excerpts.STYLE + pages.STYLE + "".join(css.values())
        row = row or ""
        return FrameStack(grid, names=(LABELS.get(row, row), column), style=style)

    def control(self, name: str) -> Control:
        """The widget of a knob; a slider that needs a new run asks for it when it is let go."""
        if name == "prompt":
            knob: Control = widgets.Text("", placeholder="such as: once at the harbor")
        elif name == "seed":
            knob = widgets.BoundedIntText(0, min=0, max=9999)
        elif name == "time":
            knob = widgets.IntSlider(LAST, 0, LAST, readout=False)
        else:
            knob = control(name, self.knobs[name])
        knob.description = LABELS.get(name, name)
        knob.style.description_width = "initial"
        knob.layout.width = f"{WIDTHS.get(name, 265)}px"
        knob.layout.max_width = "98%"
        knob.continuous_update = name in ("text", "time")
        return knob

    def live(self) -> "LiveTrajectory":
        """The explorer with a kernel: any value of any knob."""
        return LiveTrajectory(self)


class LiveTrajectory(Live):
    """Groups of controls, a player of the time, and the page that they make."""

    explorer: TrajectoryExplorer

    def __init__(self, explorer: TrajectoryExplorer):
        self.model = None  # the one that the controls are set for
        self.styles = widgets.HTML()
        self.now = widgets.HTML()
        self.play = widgets.Play(value=LAST, min=0, max=LAST, interval=INTERVAL)
        super().__init__(explorer)
        self.link = widgets.jslink((self.play, "value"), (self.knobs["time"], "value"))

    def arranged(self) -> list[Control]:
        """Model and text, sampler, disturbance, and the time over the picture."""

        def some(*names: str) -> widgets.HBox:
            return side_by_side(self.knobs[name] for name in names)

        self.timeline = side_by_side((self.play, self.knobs["time"], self.now))
        disturbance = widgets.VBox(
            [widgets.HTML(DISTURBANCE), some("moment", "size", "direction")],
            layout={"border": "1px solid #888", "padding": "4px 8px", "max_width": "980px"},
        )
        return [
            some("model", "prompt", "seed", "text"),
            some("solver", "steps"),
            disturbance,
            self.timeline,
            self.note,
            self.styles,
            self.view,
        ]

    def offer(self, model: str) -> None:
        """Let only those solvers and numbers of steps be chosen that the model has."""
        self.model = model
        writer = self.explorer.writers[model]
        solver = self.knobs["solver"]
        kept = solver.value if solver.value in writer.solvers else writer.solvers[0]
        solver.unobserve(self.redraw, "value")  # new options choose the first by themselves
        solver.options = writer.solvers
        solver.value = kept
        solver.observe(self.redraw, "value")
        solver.disabled = len(writer.solvers) == 1
        self.knobs["steps"].disabled = not writer.stepped
        self.knobs["size"].description = SIZES[writer.log_snr is not None]

    def stops(self, last: int) -> None:
        """Let slider and player have one stop for each step of a scene.

        Their ends and their places stay as they are, so that a key means the same time before and
        after the steps have changed. A reader may press End while the new run is computed, and a
        place that were set here would undo it in the browser.
        """
        self.knobs["time"].step = self.play.step = LAST // last

    def redraw(self, change: Any = None) -> None:
        """Paint the page that the knobs name."""
        model = self.knobs["model"].value
        if model != self.model:
            self.offer(model)
        undisturbed = not self.knobs["size"].value
        self.knobs["moment"].disabled = undisturbed
        self.knobs["direction"].disabled = undisturbed
        super().redraw(change)

    def paint(self, values: dict[str, Any]) -> None:
        """Show the page at these values; its drawings are sent once."""
        view, k = self.explorer.view("live", **{**values, "time": values["time"] / LAST})
        times = view.scene.times
        self.stops(len(times) - 1)
        self.now.value = f"t = {float(times[k]):.3f}"
        if view.css not in self.styles.value:
            self.styles.value = excerpts.STYLE + pages.STYLE + view.css
        self.view.value = view.page(k)

    def show(self) -> None:
        """Display the explorer under a cell."""
        display(self.box)
