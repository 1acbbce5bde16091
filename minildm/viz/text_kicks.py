"""The trajectory explorer with a kick: a text on its way is pushed once, and goes on with the loop closed or by its plan."""

import ipywidgets as widgets
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from . import style, words
from .frames import FrameStack
from .knobs import Explorer, Live, label
from .pictures import COLUMNS, ROWS, UNITS, Backdrop, dot, line
from .scenes import flow_of, plane_of
from .text_scenes import KickScene, Shown, Writer, began, kick_scene, limits, spoken_at

MOMENTS, SIZES, DIRECTIONS, TEXTS = (0.5, 0.25, 0.75), (1, 0, 2, 4), (0, 1, 2, 3), (0, 1, 2, 3)
TIMES = (1.0, *(k / 16 for k in range(16)))  # shares of the steps
COLORS, NAMES = (style.NOISE, style.CONTROL, style.ERROR), ("plan", "closed loop", "plan replayed")
MARKS = ("", " (underlined: another word)", "")
ALT = ("Left, the plane of real texts with the path of a text, and from a kick on one path with the loop closed and one by the "
       "replayed plan; right, what the three say, words that differ from the plan underlined; below, distances to the plan.")
PAGE = ("<style>.kicks{display:grid;grid-template-columns:424px minmax(260px,1fr);gap:2px 14px;max-width:960px}"
        ".kicks .below{grid-column:1/3}.kicks .tale{font-size:12px;line-height:1.55}"
        ".kicks b{font:600 12px/1.4 sans-serif}</style>")


def draw_curves(axes: list[Axes], scene: KickScene, text: int) -> None:
    """Distance to the plan and share of other words over time, of both kicked paths."""
    for ax, values, title in zip(axes, (scene.distance, scene.other), ("distance to the plan", "share of other words")):
        for path, dash in ((1, "-"), (2, "--")):
            ax.plot(scene.clock, values[path - 1, :, text], dash, color=COLORS[path], label=NAMES[path])
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.05 * top(values[..., text]), 1.2 * top(values[..., text])))
        ax.set_title(title, fontsize=8)
        ax.set_xlabel("t, mean over positions", labelpad=1, fontsize=8)


def top(values: Tensor) -> float:
    """The upper end of an axis that shows all values, and something where all are 0."""
    return max(float(values.max()), 0.02)


def arrows(scene: KickScene, k: int) -> tuple[Tensor, Tensor] | None:
    """Places on a grid and the direction of the cloud's flow there; none for texts of words, which jump."""
    if scene.log_snr is None:
        return None
    low, high = limits(scene)
    sides = (torch.linspace(float(a), float(b), n + 2)[1:-1] for a, b, n in zip(low, high, (COLUMNS, ROWS)))
    places = torch.cartesian_prod(*sides)
    flow = flow_of(scene.cloud, places, float(scene.log_snr[k]))
    length = flow.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return places, flow / (length * length.max()).sqrt()


def frame_plane(axes: Axes, scene: KickScene) -> None:
    """What does not move: the cloud of real texts, and a window that holds all."""
    low, high = limits(scene)
    axes.scatter(*scene.cloud.T, s=9, color=style.DATA, alpha=0.3, lw=0)
    axes.set(xlim=(float(low[0]), float(high[0])), ylim=(float(low[1]), float(high[1])),
             xlabel="widest direction of real texts", ylabel="second")


def draw(shown: Shown) -> Figure:
    """The picture in print."""
    scene, k, text = shown.scene, shown.k, shown.text
    figure = Figure(figsize=(style.WIDTH, 5.2), layout="none")
    plane = figure.add_axes((0.09, 0.41, 0.35, 0.52))
    frame_plane(plane, scene)
    plane.set_title(f"{scene.model}, t = {float(scene.clock[k]):.2f}")
    if field := arrows(scene, k):
        plane.quiver(*field[0].T, *field[1].T, color=style.NOISE, alpha=0.6, width=0.005, angles="xy", pivot="mid", scale=16,
                     scale_units="width")
    for path, width in ((0, 1.2), (2, 1.4), (1, 1.8)):
        part = scene.paths[path, began(scene, path):k + 1, text]
        if len(part):
            plane.plot(*part.T, "--" if path == 0 else "-", color=COLORS[path], lw=width, zorder=3 + width)
            plane.plot(*part[-1], "o", color=COLORS[path], mec=style.INK, ms=6, zorder=6)
    if k >= scene.at:
        plane.plot(*scene.paths[:2, scene.at, text].T, color=style.INK, lw=2, zorder=7)
    curves = [figure.add_axes((0.075 + 0.5 * i, 0.095, 0.42, 0.2)) for i in range(2)]
    draw_curves(curves, scene, text)
    for ax in curves:
        ax.axvline(float(scene.clock[k]), color=style.INK, lw=0.8)
    curves[0].legend(loc="upper left", fontsize=7)
    for path in range(3):
        axes = figure.add_axes((0.47, 0.735 - 0.21 * path, 0.52, 0.19))
        axes.text(0, 1.04, NAMES[path] + MARKS[path], color=COLORS[path], weight="bold", fontsize=8, transform=axes.transAxes)
        words.on_axes(axes, spoken_at(shown, path), columns=66, size=5.7, pitch=0.155)
    return figure


class View:
    """A kicked text as HTML: a plane and curves drawn once, and on top of them what moves; `name` is unique on a page."""

    def __init__(self, scene: KickScene, text: int, name: str):
        self.scene, self.text = scene, text
        plane = Figure(figsize=(4.4, 3.5), dpi=120, layout="none")
        frame_plane(plane.add_axes((0.15, 0.13, 0.84, 0.86)), scene)
        below = Figure(figsize=(9.2, 1.6), dpi=120, layout="none")
        draw_curves([below.add_axes((0.05 + 0.5 * i, 0.29, 0.43, 0.56)) for i in range(2)], scene, text)
        self.plane, self.below = Backdrop(plane, f"plane-{name}"), Backdrop(below, f"below-{name}")
        self.css = f"<style>{self.plane.css}{self.below.css}</style>"

    def svg(self, k: int) -> str:
        """The plane at the k-th time."""
        scene, content = self.scene, ""
        if field := arrows(scene, k):
            middle, ahead = self.plane.units(0, field[0]), (field[1].numpy() * (1, -1) * 9 * UNITS).astype(int)
            shafts = "".join(f"M{x - a} {y - b}l{2 * a} {2 * b}" for (x, y), (a, b) in zip(middle, ahead))
            tips = "".join(f"M{x + a} {y + b}h0" for (x, y), (a, b) in zip(middle, ahead))
            content += (f'<path d="{shafts}" stroke="{style.NOISE}" stroke-width="3" opacity=".7"/><path d="{tips}" '
                        f'stroke="{style.NOISE}" stroke-width="11" stroke-linecap="round"/>')
        for path, width in ((0, 6), (2, 6), (1, 8)):
            if k >= began(scene, path):
                points = self.plane.units(0, scene.paths[path, began(scene, path):k + 1, self.text])
                dash = ' stroke-dasharray="16 10"' if path == 0 else ""
                content += (f'<path d="{line(points)}" stroke="{COLORS[path]}" stroke-width="{width}" fill="none"{dash}/>'
                            + dot(points[-1], 20, COLORS[path], style.INK))
        if k >= scene.at:
            push = self.plane.units(0, scene.paths[:2, scene.at, self.text])
            content += f'<path d="{line(push)}" stroke="{style.INK}" stroke-width="9"/>'
        return self.plane.svg(content, f"{scene.model} at t = {float(scene.clock[k]):.2f}: {ALT}")

    def page(self, k: int) -> str:
        """One moment: the plane, the three texts, and the curves below."""
        scene, shown, marks = self.scene, Shown(self.scene, self.text, k), ""
        for i, values in enumerate((scene.distance, scene.other)):
            for path in (2, 1):
                here = torch.tensor([float(scene.clock[k]), float(values[path - 1, k, self.text])])
                marks += dot(self.below.units(i, here), 18, COLORS[path], style.INK)
        said = "".join(f'<b style="color:{COLORS[path]}">{NAMES[path]}{MARKS[path]}</b>{words.as_html(spoken_at(shown, path))}'
                       for path in range(3))
        what = f"pushed at t = {float(scene.clock[scene.at]):.2f}" if k >= scene.at else "not pushed yet"
        far = " and ".join(f"{float(scene.distance[i, k, self.text]):.2f}" for i in (0, 1))
        return (f'<div class="kicks"><div><b>{scene.model}, t = {float(scene.clock[k]):.3f}</b>, {what}{self.svg(k)}</div>'
                f'<div>{said}</div><div class="below">{self.below.svg(marks, f"Distances to the plan: {far}.")}</div></div>')


class TextKicks(Explorer):
    """The explorer of kicked texts; pages are HTML, whose words can be read, and the figure is for print."""

    def __init__(self, writers: dict[str, Writer]):
        self.writers, self.planes, self.scenes, self.views = writers, {}, {}, {}
        knobs = {"time": TIMES, "model": tuple(writers), "text": TEXTS, "moment": MOMENTS, "size": SIZES,
                 "direction": DIRECTIONS}
        super().__init__(self.shown, draw, knobs, ALT)

    def shown(self, time: float, model: str, text: int, moment: float, size: float, direction: int) -> Shown:
        """What a picture shows at these knobs; the paths of a kick are computed once."""
        key, writer = (model, moment, size, direction), self.writers[model]
        if model not in self.planes:
            self.planes[model] = plane_of(writer.cloud)
        if key not in self.scenes:
            self.scenes[key] = kick_scene(writer.kick(moment, size, direction), model, key[1:], writer.cloud,
                                          self.planes[model], writer.log_snr, writer.pieces)
        scene = self.scenes[key]
        return Shown(scene, text, round(time * (len(scene.clock) - 1)))

    def view(self, page: str, **knobs) -> tuple[View, int]:
        """The view at these knobs on a page of this name, and the index of its time."""
        shown = self.at(**knobs)
        scene = shown.scene
        key = page, scene.model, shown.text, scene.moment, scene.size, scene.direction
        if key not in self.views:
            self.views[key] = View(scene, shown.text, f"{page}-{len(self.views)}")
        return self.views[key], shown.k

    def frames(self, column: str = "time", row: str | None = None, columns=None, rows=None, **fixed) -> FrameStack:
        """Frames that move without a kernel; numbers from small to large, by default every second time."""
        columns = columns or (sorted(TIMES)[::2] if column == "time" else self.ordered(column))
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

    def live(self) -> "LiveKicks":
        """The explorer with a kernel: any value of any knob."""
        return LiveKicks(self)


class LiveKicks(Live):
    """A control for each knob, a player of the time, and the page that they make."""

    explorer: TextKicks

    def __init__(self, explorer: TextKicks):
        super().__init__(explorer)
        self.play = widgets.Play(value=0, min=0, max=len(TIMES) - 1, interval=300)
        self.link = widgets.jslink((self.play, "value"), (self.knobs["time"], "index"))
        self.box.children = [widgets.HBox([self.play, *self.box.children[0].children], layout={"flex_flow": "row wrap"}),
                             self.view]

    def redraw(self, change=None) -> None:
        """Show the page that the knobs name."""
        view, k = self.explorer.view("live", **{name: knob.value for name, knob in self.knobs.items()})
        self.view.value = words.STYLE + PAGE + view.css + view.page(k)

    def show(self) -> None:
        """Display the explorer under a cell."""
        display(self.box)


def explorer(writers: dict[str, Writer]) -> TextKicks:
    """The explorer of kicked texts, which starts with the first of the models."""
    return TextKicks(writers)
