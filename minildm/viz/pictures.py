"""The two pictures of a scene: drawn with matplotlib for print, and as a backdrop with a small SVG on top for what moves."""

import base64

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from . import words
from .figures import pack
from .scenes import PATHS, Scene, Shown, arrows, began, limits, spoken_at
from .style import CONTROL, DATA, ERROR, INK, NOISE, WIDTH

UNITS = 4  # of an SVG's coordinates, in one pixel of the page: enough for smooth lines in whole numbers
PALE, MOMENTS = "#7aa6c2", 4
PAGE = ("<style>.scene{display:grid;grid-template-columns:424px minmax(260px,1fr);gap:2px 14px;max-width:960px}"
        ".scene .below{grid-column:1/3}.scene b{font:600 12px/1.4 sans-serif}.scene .three .tale{font-size:12px;"
        "line-height:1.55}</style>")


def colors(scene: Scene) -> tuple[str, ...]:
    """Of the paths: a plan that is left alone is what is looked at; beside kicked ones it steps back."""
    return (CONTROL,) if len(scene.paths) == 1 else (NOISE, CONTROL, ERROR)


def drawn(scene: Scene, k: int) -> list[int]:
    """Paths that have begun at the k-th time, the most important last."""
    return [path for path in ((0,) if len(scene.paths) == 1 else (0, 2, 1)) if k >= began(scene, path)]


# --- drawn with matplotlib ---------------------------------------------------------------------------------------

def draw_plane(axes: Axes, scene: Scene) -> None:
    """What does not move: the cloud of real texts, and a window that holds all."""
    low, high = limits(scene)
    axes.scatter(*scene.cloud.T, s=9, color=DATA, alpha=0.3, lw=0)
    axes.set(xlim=(float(low[0]), float(high[0])), ylim=(float(low[1]), float(high[1])),
             xlabel="widest direction of real texts", ylabel="second")


def draw_curves(axes: list[Axes], scene: Scene, text: int) -> None:
    """The curves below of one text, of all paths from where they are drawn."""
    for ax, (title, values) in zip(axes, scene.curves.items()):
        for path, color in enumerate(colors(scene)):
            first = began(scene, path)
            ax.plot(scene.clock[first:], values[path, first:, text], "--" if path == 2 else "-", color=color, lw=1.3,
                    label=PATHS[path])
        ax.set_xlim(-0.02, 1.02)
        ax.margins(y=0.12)
        ax.set_title(title, fontsize=8)
        ax.set_xlabel("t", labelpad=1, fontsize=8)


def draw_moving(axes: Axes, scene: Scene, k: int, text: int) -> None:
    """What moves: the flow at the k-th time, the plans of all texts up to it, and one text's paths and push on top."""
    places, flow = arrows(scene, k)
    axes.quiver(*places.T, *flow.T, color=NOISE, alpha=0.6, width=0.005, angles="xy", pivot="mid", scale=16,
                scale_units="width")
    axes.plot(*scene.paths[0, :k + 1].permute(2, 0, 1), color=PALE, lw=0.9)
    axes.scatter(*scene.paths[0, k].T, s=22, color=DATA, edgecolor="white", lw=0.6, zorder=3)
    for order, path in enumerate(drawn(scene, k)):
        part, color = scene.paths[path, began(scene, path):k + 1, text], colors(scene)[path]
        axes.plot(*part.T, "-" if path or len(scene.paths) == 1 else "--", color=color, lw=1.8, zorder=4 + order)
        axes.plot(*part[-1], "o", color=color, mec=INK, ms=6, zorder=8)
    if len(scene.paths) > 1 and k >= scene.at:
        axes.plot(*scene.paths[:2, scene.at, text].T, color=INK, lw=2, zorder=9)


def draw(shown: Shown) -> Figure:
    """The picture in print: the plane, a text at a few times or after a kick what the three paths say, and the curves."""
    scene, k, text = shown.scene, shown.k, shown.text
    figure = Figure(figsize=(WIDTH, 5.4), layout="none")
    plane = figure.add_axes((0.09, 0.4, 0.35, 0.54))
    draw_plane(plane, scene)
    draw_moving(plane, scene, k, text)
    plane.set_title(f"{scene.model}, t = {float(scene.clock[k]):.2f}")
    curves = [figure.add_axes((0.06 + 0.33 * i, 0.09, 0.265, 0.19)) for i in range(3)]
    draw_curves(curves, scene, text)
    for ax in curves:
        ax.axvline(float(scene.clock[k]), color=INK, lw=0.8)
    if len(scene.paths) == 1:
        moments = [round(k * i / (MOMENTS - 1)) for i in range(MOMENTS)]
        said = [(f"t = {float(scene.clock[m]):.2f}", INK, spoken_at(Shown(scene, text, m), 0)) for m in moments]
    else:
        curves[0].legend(fontsize=6.5, loc="upper left")
        said = [(name, color, spoken_at(shown, path)) for path, (name, color) in enumerate(zip(PATHS, colors(scene)))]
    height = 0.6 / len(said)
    for i, (title, color, spoken) in enumerate(said):
        axes = figure.add_axes((0.47, 0.96 - height * (i + 1), 0.52, height - 0.035))
        axes.text(0, 1 + 0.009 / (height - 0.035), title, color=color, weight="bold", fontsize=8, transform=axes.transAxes)
        words.on_axes(axes, spoken, columns=66, size=5.7, pitch=0.0285 / (height - 0.035))
    return figure


# --- backdrop and overlay ----------------------------------------------------------------------------------------

class Backdrop:
    """A figure as a picture of the page, and the map from its axes to the units of an SVG laid over it."""

    def __init__(self, figure: Figure, name: str):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        data = base64.b64encode(pack(canvas.buffer_rgba())).decode()
        self.figure, self.name = figure, name
        self.width, self.height = (round(96 * inches) for inches in figure.get_size_inches())
        self.css = (f".{name}{{background:url(data:image/webp;base64,{data});background-size:100% 100%;"
                    f"width:{self.width}px;max-width:100%}}")

    def units(self, axes: int, points: Tensor) -> np.ndarray:
        """Points (..., 2) of the i-th axes in whole units of the SVG."""
        flat = self.figure.axes[axes].transData.transform(points.reshape(-1, 2).numpy()) * 96 / self.figure.dpi
        return np.rint(np.stack([flat[:, 0], self.height - flat[:, 1]], -1) * UNITS).astype(int).reshape(points.shape)

    def svg(self, content: str, alt: str) -> str:
        """The SVG that lies over the backdrop."""
        return (f'<svg class="{self.name}" role="img" aria-label="{alt}" '
                f'viewBox="0 0 {self.width * UNITS} {self.height * UNITS}">{content}</svg>')


def line(points: np.ndarray) -> str:
    """Points (n, 2) as one piece of an SVG path."""
    start, steps = points[0], np.diff(points, axis=0)
    return f"M{start[0]} {start[1]}" + "".join(f"l{x} {y}" for x, y in steps)


def dot(point: np.ndarray, radius: int, color: str, edge: str) -> str:
    """A circle with an edge."""
    return f'<circle cx="{point[0]}" cy="{point[1]}" r="{radius}" fill="{color}" stroke="{edge}" stroke-width="3"/>'


class View:
    """A text of a scene as HTML: plane and curves drawn once, and on top of them what moves; `name` is unique on a page."""

    def __init__(self, scene: Scene, text: int, name: str):
        self.scene, self.text = scene, text
        plane = Figure(figsize=(4.4, 3.5), dpi=120, layout="none")
        draw_plane(plane.add_axes((0.15, 0.13, 0.84, 0.86)), scene)
        below = Figure(figsize=(9.2, 1.6), dpi=120, layout="none")
        draw_curves([below.add_axes((0.04 + 0.335 * i, 0.29, 0.28, 0.56)) for i in range(3)], scene, text)
        self.plane, self.below = Backdrop(plane, f"plane-{name}"), Backdrop(below, f"below-{name}")
        self.css = f"<style>{self.plane.css}{self.below.css}</style>"

    def flow(self, k: int) -> str:
        """The cloud's flow as pins whose heads point the way."""
        places, flow = arrows(self.scene, k)
        middle, ahead = self.plane.units(0, places), np.rint(flow.numpy() * (1, -1) * 9 * UNITS).astype(int)
        shafts = "".join(f"M{x - a} {y - b}l{2 * a} {2 * b}" for (x, y), (a, b) in zip(middle, ahead))
        tips = "".join(f"M{x + a} {y + b}h0" for (x, y), (a, b) in zip(middle, ahead))
        return (f'<path d="{shafts}" stroke="{NOISE}" stroke-width="3" opacity=".7"/><path d="{tips}" stroke="{NOISE}" '
                f'stroke-width="11" stroke-linecap="round"/>')

    def svg(self, k: int) -> str:
        """The plane at the k-th time."""
        scene, plans = self.scene, self.plane.units(0, self.scene.paths[0, :k + 1].transpose(0, 1))
        content = self.flow(k) + f'<path d="{"".join(map(line, plans))}" stroke="{PALE}" stroke-width="4" fill="none"/>'
        content += "".join(dot(plan[-1], 15, DATA, "#fff") for plan in plans)
        for path in drawn(scene, k):
            points, color = self.plane.units(0, scene.paths[path, began(scene, path):k + 1, self.text]), colors(scene)[path]
            dash = "" if path or len(scene.paths) == 1 else ' stroke-dasharray="16 10"'
            content += (f'<path d="{line(points)}" stroke="{color}" stroke-width="8" fill="none"{dash}/>'
                        + dot(points[-1], 22, color, INK))
        if len(scene.paths) > 1 and k >= scene.at:
            push = self.plane.units(0, scene.paths[:2, scene.at, self.text])
            content += f'<path d="{line(push)}" stroke="{INK}" stroke-width="9"/>'
        return self.plane.svg(content, f"The texts of {scene.model} in a plane at t = {float(scene.clock[k]):.2f}, on their "
                                       "way to the cloud of real texts; one is highlighted, after a kick with its three paths.")

    def page(self, k: int) -> str:
        """One moment: the plane on the left, what is said on the right, the curves below."""
        scene, shown, marks, told = self.scene, Shown(self.scene, self.text, k), "", []
        many = len(scene.paths) > 1
        for i, (title, values) in enumerate(scene.curves.items()):
            for path in drawn(scene, k):
                here = torch.tensor([float(scene.clock[k]), float(values[path, k, self.text])])
                marks += dot(self.below.units(i, here), 18, colors(scene)[path], INK)
            told.append(f"{title} {', '.join(f'{float(x):.2f}' for x in values[:, k, self.text])}")
        when = f"pushed at t = {float(scene.clock[scene.at]):.2f}" if k >= scene.at else "not pushed yet"
        what = f"text {self.text}" + (f", {when}" if many else "")
        names = [f'<b style="color:{color}">{name}</b>' for name, color in zip(PATHS, colors(scene))] if many else [""]
        said = "".join(name + words.as_html(spoken_at(shown, path)) for path, name in enumerate(names))
        return (f'<div class="scene"><div><b>{scene.model}, t = {float(scene.clock[k]):.3f}</b>, {what}{self.svg(k)}</div>'
                f'<div class="{"three" if many else "one"}">{said}</div>'
                f'<div class="below">{self.below.svg(marks, "; ".join(told))}</div></div>')
