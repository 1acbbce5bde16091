"""The trajectory explorer: texts of any model on their way to words, left alone or kicked once; live, as frames, in print."""

import html

import ipywidgets as widgets
from IPython.display import display

from ..errors import UserError
from . import words
from .frames import FrameStack
from .knobs import Explorer, Live, control, label
from .pictures import PAGE, View, draw
from .scenes import Shown, Writer, plane_of, scene_of

KICKS = {"moment": (0.5, 0.25, 0.75), "size": (0, 1, 2, 4), "direction": (0, 1, 2, 3)}
TEXTS, SEEDS = (0, 1, 2, 3), (0, 1, 2, 3)
TIMES = (1.0, *(k / 32 for k in range(32)))  # shares of the steps
STEPS = (32, 8, 16, 64)
ALT = ("Left, a plane with a cloud of real texts, the paths of four texts and, after a kick, one path with the loop closed and "
       "one by the replayed plan; right, what is said, words shaded by confidence and marked; below, three curves over time.")


class TrajectoryExplorer(Explorer):
    """Texts travelling through a plane; pages are HTML, whose words can be read, and the figure is for print.

    Args: `writers`, name of a model -> `Writer`, the first of which starts; `size` of the kick that it starts with, 0 for none;
    `solver` and `steps` that it starts with. Knobs: model, prompt, seed, solver, steps, text, time, and a kick's moment, size
    and direction; a prompt may be any text, a seed any number up to 9999.
    """

    def __init__(self, writers: dict[str, Writer], size: int = 0, solver: str = "ancestral", steps: int = 32):
        self.writers, self.planes, self.scenes, self.views = writers, {}, {}, {}
        solvers = dict.fromkeys((solver, *(name for writer in writers.values() for name in writer.solvers)))
        super().__init__(self.shown, draw, {
            "model": tuple(writers), "prompt": ("",), "seed": SEEDS, "solver": tuple(solvers),
            "steps": tuple(dict.fromkeys((steps, *STEPS))), "text": TEXTS, "time": TIMES, **KICKS,
            "size": tuple(dict.fromkeys((size, *KICKS["size"])))}, ALT)

    def listed(self, name: str, value):
        """The value of a knob; prompts and seeds are free."""
        return value if name in ("prompt", "seed") else super().listed(name, value)

    def shown(self, model: str, text: int, time: float, **asked) -> Shown:
        """What a picture shows at these knobs; the paths of a run are computed once."""
        writer = self.writers[model]
        if model not in self.planes:
            self.planes[model] = plane_of(writer.cloud)
        key = model, *asked.items()
        if key not in self.scenes:
            self.scenes[key] = scene_of(*writer.paths(**asked), model, writer.cloud, self.planes[model], writer.log_snr,
                                        writer.pieces)
        scene = self.scenes[key]
        return Shown(scene, text, round(time * (len(scene.clock) - 1)))

    def view(self, page: str, **knobs) -> tuple[View, int]:
        """The view at these knobs on a page of this name, and the index of its time."""
        shown = self.at(**knobs)
        key = page, id(shown.scene), shown.text
        if key not in self.views:
            self.views[key] = View(shown.scene, shown.text, f"{page}-{len(self.views)}")
        return self.views[key], shown.k

    def frames(self, column: str = "time", row: str | None = None, columns=None, rows=None, **fixed) -> FrameStack:
        """Frames that move without a kernel; numbers from small to large, by default every fourth time."""
        columns = columns or (sorted(TIMES)[::4] if column == "time" else self.ordered(column))
        rows = rows or (self.ordered(row) if row else [None])
        pages, css, name = [], {}, f"frames{len(self.views)}"
        for b in rows:
            pages.append([])
            for a in columns:
                knobs = {**fixed, column: a, **({row: b} if row else {})}
                view, k = self.view(name, **knobs)
                css[view] = view.css
                said = ", ".join(f"{knob} = {label(value)}" for knob, value in knobs.items())
                pages[-1].append(f"<div>{said}</div>{view.page(k)}")
        return FrameStack(pages, names=(row or "", column), style=words.STYLE + PAGE + "".join(css.values()))

    def ordered(self, knob: str) -> list:
        """Values of a knob: numbers from small to large, words as they stand."""
        values = list(self.knobs[knob])
        return values if isinstance(values[0], str) else sorted(values)

    def control(self, name: str) -> widgets.Widget:
        """The widget of a knob; what is computed anew is so when a slider is let go."""
        if name == "prompt":
            return widgets.Text("", description="prompt", placeholder="blank", continuous_update=False)
        if name == "seed":
            return widgets.BoundedIntText(0, min=0, max=9999, description="seed")
        knob = control(name, self.knobs[name])
        if name == "steps":
            knob.continuous_update = False
        return knob

    def live(self) -> "LiveTrajectory":
        """The explorer with a kernel: any value of any knob."""
        return LiveTrajectory(self)


class LiveTrajectory(Live):
    """A control for each knob, a player of the time, and the page that they make; a prompt of unknown words is told so."""

    explorer: TrajectoryExplorer

    def __init__(self, explorer: TrajectoryExplorer):
        self.model = None
        super().__init__(explorer)
        self.play = widgets.Play(value=0, min=0, max=len(TIMES) - 1, interval=250)
        self.link = widgets.jslink((self.play, "value"), (self.knobs["time"], "index"))
        self.box.children = [widgets.HBox([self.play, *self.box.children[0].children], layout={"flex_flow": "row wrap"}),
                             self.view]

    def offer(self, model: str) -> None:
        """Let only those solvers and numbers of steps be chosen that the model has."""
        self.model, writer, solver = model, self.explorer.writers[model], self.knobs["solver"]
        kept = solver.value if solver.value in writer.solvers else writer.solvers[0]
        solver.unobserve(self.redraw, "value")  # new options choose the first, which nobody asked for
        solver.options, solver.value = writer.solvers, kept
        solver.observe(self.redraw, "value")
        solver.disabled, self.knobs["steps"].disabled = len(writer.solvers) == 1, not writer.stepped

    def redraw(self, change=None) -> None:
        """Show the page that the knobs name."""
        if self.knobs["model"].value != self.model:
            self.offer(self.knobs["model"].value)
        try:
            view, k = self.explorer.view("live", **{name: knob.value for name, knob in self.knobs.items()})
        except UserError as mistake:
            self.view.value = f"<p>{html.escape(str(mistake))}</p>"
        else:
            self.view.value = words.STYLE + PAGE + view.css + view.page(k)

    def show(self) -> None:
        """Display the explorer under a cell."""
        display(self.box)
