"""The trajectory explorer: texts of any model on their way to words, left alone or kicked once;
live, as frames, in print.
"""

from collections.abc import Hashable

import ipywidgets as widgets
from IPython.display import display

from ..core.frames import INTERVAL, FrameStack
from ..core.knobs import Explorer, Live, control, label, ordered, row
from . import text
from .pictures import PAGE, View, draw
from .scenes import Shown, Writer, scene_of

KICKS = {"moment": (0.5, 0.25, 0.75), "size": (0, 1, 2, 4), "direction": (0, 1, 2, 3)}
TEXTS, SEEDS = (0, 1, 2, 3), (0, 1, 2, 3)
TIMES = (1.0, *(k / 32 for k in range(32)))  # shares of the steps
STEPS = (32, 8, 16, 64)
FRAMES = [k / 20 for k in range(21)]  # of the time
NAMES = {
    "moment": "disturbed at",
    "text": "follow text",
}  # of knobs that are called otherwise on the screen
SIZES = {
    True: "size (std)",
    False: "size (words)",
}  # of a disturbance, of models of latents and of words
WIDTHS = {
    "model": 210,
    "prompt": 270,
    "seed": 120,
    "text": 220,
    "solver": 210,
    "time": 460,
}  # of controls, in pixels
DISTURBANCE = (
    '<div style="line-height:1.4"><b>Disturbance.</b> Once on its way, each text is displaced: its latents by '
    "random numbers of this standard deviation, or, in a model of words, so many written words are replaced. The "
    "<i>closed loop</i> goes on from there, the <i>plan replayed</i> repeats the recorded steps. <i>direction</i> "
    "picks one of four random ones.</div>"
)
ALT = (
    "Left, a plane with a cloud of real texts, the paths of four texts and, after a kick, one path with the loop closed and "
    "one by the replayed plan; right, what is said, words shaded by how long they have stood and marked; below, three "
    "curves over time."
)


class TrajectoryExplorer(Explorer):
    """Texts travelling through a plane; pages are HTML, whose words can be read, and the figure is
    for print.

    Args:
        writers: Name of a model -> `Writer`, the first of which starts.
        size: Of the kick that it starts with, 0 for none.
        solver, steps: That it starts with. Knobs: model, prompt, seed, solver, steps, text, time,
            and a kick's moment, size and direction; a prompt may be any text, a seed any number up
            to 9999.
    """

    def __init__(
        self, writers: dict[str, Writer], size: int = 0, solver: str = "ancestral", steps: int = 32
    ):
        self.writers, self.scenes, self.views = writers, {}, {}
        solvers = dict.fromkeys(
            (solver, *(name for writer in writers.values() for name in writer.solvers))
        )
        super().__init__(
            self.shown,
            draw,
            {
                "model": tuple(writers),
                "prompt": ("",),
                "seed": SEEDS,
                "solver": tuple(solvers),
                "steps": tuple(dict.fromkeys((steps, *STEPS))),
                "text": TEXTS,
                "time": TIMES,
                **KICKS,
                "size": tuple(dict.fromkeys((size, *KICKS["size"]))),
            },
            ALT,
            between=("time", "moment"),
        )

    def listed(self, name: str, value):
        """The value of a knob; prompts and seeds are free."""
        return value if name in ("prompt", "seed") else super().listed(name, value)

    def shown(self, model: str, text: int, time: float, **asked) -> Shown:
        """What a picture shows at these knobs; the paths of a run are computed once."""
        writer = self.writers[model]
        key = model, *asked.items()
        if key not in self.scenes:
            self.scenes[key] = scene_of(
                *writer.paths(**asked), model, writer.cloud, writer.log_snr, writer.pieces
            )
        scene = self.scenes[key]
        return Shown(scene, text, round(time * (len(scene.clock) - 1)))

    def view(self, page: str, **knobs) -> tuple[View, int]:
        """The view at these knobs on a page of this name, and the index of its time."""
        shown = self.at(**knobs)
        key = page, id(shown.scene), shown.text
        if key not in self.views:
            self.views[key] = View(shown.scene, shown.text, f"{page}-{len(self.views)}")
        return self.views[key], shown.k

    def frames(
        self, column: str = "time", row: str | None = None, columns=None, rows=None, **fixed
    ) -> FrameStack:
        """Frames that move without a kernel; numbers from small to large, by default 21 times."""
        columns = (
            (FRAMES if column == "time" else ordered(self.knobs[column]))
            if columns is None
            else columns
        )
        rows = rows or (ordered(self.knobs[row]) if row else [None])
        pages, css, name = [], {}, f"frames{len(self.views)}"
        for b in rows:
            pages.append([])
            for a in columns:
                knobs = {**fixed, column: a, **({row: b} if row else {})}
                view, k = self.view(name, **knobs)
                css[view] = view.css
                said = ", ".join(
                    f"{NAMES.get(knob, knob)} = {label(value)}"
                    for knob, value in knobs.items()
                    if knob != "time"
                )
                pages[-1].append(f"<div>{said}</div>{view.page(k)}")
        return FrameStack(
            pages,
            names=(NAMES.get(row, row or ""), column),
            style=text.STYLE + PAGE + "".join(css.values()),
        )

    def control(self, name: str) -> widgets.Widget:
        """The widget of a knob; what is computed anew is so when a slider is let go."""
        if name == "prompt":
            knob = widgets.Text("", placeholder="such as: once at the harbor")
        elif name == "seed":
            knob = widgets.BoundedIntText(0, min=0, max=9999)
        elif name == "time":
            knob = widgets.IntSlider(1, 0, 1, readout=False)
        else:
            knob = control(name, self.knobs[name])
        knob.description, knob.style.description_width = NAMES.get(name, name), "initial"
        knob.layout.width, knob.layout.max_width = f"{WIDTHS.get(name, 265)}px", "98%"
        knob.continuous_update = name in ("text", "time")
        return knob

    def live(self) -> "LiveTrajectory":
        """The explorer with a kernel: any value of any knob."""
        return LiveTrajectory(self)


class LiveTrajectory(Live):
    """Groups of controls, a player of the time, and the page that they make."""

    explorer: TrajectoryExplorer

    def __init__(self, explorer: TrajectoryExplorer):
        self.model, self.look, self.clock, self.play = (
            None,
            widgets.HTML(),
            widgets.HTML(),
            widgets.Play(interval=INTERVAL),
        )
        super().__init__(explorer)
        self.link = widgets.jslink((self.play, "value"), (self.knobs["time"], "value"))

    def arranged(self) -> list[widgets.Widget]:
        """Model and text, sampler, disturbance, and the time over the picture."""

        def some(*names: str) -> widgets.HBox:
            return row(self.knobs[name] for name in names)

        self.timeline = row((self.play, self.knobs["time"], self.clock))
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
            self.look,
            self.view,
        ]

    def offer(self, model: str) -> None:
        """Let only those solvers and numbers of steps be chosen that the model has."""
        self.model, writer, solver = model, self.explorer.writers[model], self.knobs["solver"]
        kept = solver.value if solver.value in writer.solvers else writer.solvers[0]
        solver.unobserve(
            self.redraw, "value"
        )  # new options choose the first, which nobody asked for
        solver.options, solver.value = writer.solvers, kept
        solver.observe(self.redraw, "value")
        solver.disabled, self.knobs["steps"].disabled = len(writer.solvers) == 1, not writer.stepped
        self.knobs["size"].description = SIZES[writer.log_snr is not None]

    def stops(self, k: int, last: int) -> None:
        """Let slider and player have one stop for each step of a scene, and stand at the k-th."""
        time = self.knobs["time"]
        if time.max == last:
            return
        time.unobserve(self.redraw, "value")
        time.max, time.value, self.play.max, self.play.value = last, k, last, k
        time.observe(self.redraw, "value")
        self.timeline.children = self.play, self.clock
        self.timeline.children = (
            self.play,
            time,
            self.clock,
        )  # a new slider: the End key of an old one leads to its old end

    def redraw(self, change=None) -> None:
        """Paint the page that the knobs name."""
        if self.knobs["model"].value != self.model:
            self.offer(self.knobs["model"].value)
        self.knobs["moment"].disabled = self.knobs["direction"].disabled = not self.knobs[
            "size"
        ].value
        super().redraw(change)

    def paint(self, values: dict[str, Hashable]) -> None:
        """Show the page at these values; its drawings are sent once."""
        view, k = self.explorer.view(
            "live", **{**values, "time": values["time"] / self.knobs["time"].max}
        )
        self.stops(k, len(view.scene.clock) - 1)
        self.clock.value = f"t = {float(view.scene.clock[k]):.3f}"
        if view.css not in self.look.value:
            self.look.value = text.STYLE + PAGE + view.css
        self.view.value = view.page(k)

    def show(self) -> None:
        """Display the explorer under a cell."""
        display(self.box)
