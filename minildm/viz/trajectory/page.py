"""The two pictures of a scene: drawn with matplotlib for print, and as a backdrop with a small SVG
on top for what moves.
"""

import base64

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from ..core.figures import pack
from ..core.style import CARD, CONTROL, DATA, ERROR, INK, NOISE, WIDTH
from . import text
from .scenes import PATHS, Scene, Shown, arrows, began, limits, spoken_at

UNITS = (
    4  # of an SVG's coordinates, in one pixel of the page: enough for smooth lines in whole numbers
)
PALE, MOMENTS = "#7aa6c2", 4
PAGE = (
    f"<style>.scene{{display:flex;flex-wrap:wrap;gap:6px 14px;max-width:980px;box-sizing:border-box;{CARD};"
    "font:12px/1.4 sans-serif}.scene>*{min-width:0}.scene p{margin:2px 0}.scene .left{flex:0 1 424px}"
    ".scene .said{flex:1 1 260px}.scene .below{flex:1 1 240px}.scene .keys span{margin-right:12px;white-space:nowrap}"
    ".scene .keys i,.scene b i{display:inline-block;width:16px;border-top:3px solid;margin-right:4px;vertical-align:middle}"
    ".scene .keys .dot{width:7px;height:7px;border:0;border-radius:50%}.scene .three .tale{font-size:12px;"
    "line-height:1.55}</style>"
)


def colors(scene: Scene) -> tuple[str, ...]:
    """Of the paths: a plan that is left alone is what is looked at; beside kicked ones it steps
    back.
    """
    return (CONTROL,) if len(scene.paths) == 1 else (NOISE, CONTROL, ERROR)


def drawn(scene: Scene, k: int) -> list[int]:
    """Paths that have begun at the k-th time, the most important last."""
    return [
        path for path in ((0,) if len(scene.paths) == 1 else (0, 2, 1)) if k >= began(scene, path)
    ]


def legend(scene: Scene) -> dict[str, tuple[str, str]]:
    """What the plane shows: name -> its color, and how it is drawn: a dot, a line or a dashed line."""
    found = {"real texts": (DATA, "dot"), "other texts": (PALE, "line")}
    if scene.log_snr is not None:
        found["flow if the real texts were all data"] = (NOISE, "line")
    if len(scene.paths) == 1:
        return {**found, "the text on the right": (CONTROL, "line")}
    lines = zip(PATHS, colors(scene), ("dashed", "line", "line"))
    return {
        **found,
        **{name: (color, look) for name, color, look in lines},
        "disturbance": (INK, "line"),
    }


# --- drawn with matplotlib ---------------------------------------------------------------------------------------


def draw_plane(axes: Axes, scene: Scene) -> None:
    """What does not move: the cloud of real texts, and a window that holds all."""
    low, high = limits(scene)
    axes.scatter(*scene.cloud.T, s=9, color=DATA, alpha=0.3, lw=0)
    axes.set(xlim=(float(low[0]), float(high[0])), ylim=(float(low[1]), float(high[1])))
    axes.set_xlabel("the mean way of these texts, from start to end", fontsize=8)
    axes.set_ylabel("widest other way of real texts", fontsize=8)


def draw_curve(axes: Axes, scene: Scene, title: str, text: int) -> None:
    """A curve below of one text, of all paths from where they are drawn."""
    for path, color in enumerate(colors(scene)):
        first = began(scene, path)
        axes.plot(
            scene.clock[first:],
            scene.curves[title][path, first:, text],
            "-" if path or len(scene.paths) == 1 else "--",
            color=color,
            lw=1.3,
        )
    axes.set_xlim(-0.02, 1.02)
    axes.margins(y=0.12)
    axes.set_title(title, fontsize=8)
    axes.set_xlabel("time t", labelpad=1, fontsize=8)


def draw_legend(figure: Figure, scene: Scene) -> None:
    """The names of what the plane shows, below it."""
    looks = {
        "dot": {"ls": "", "marker": "o", "ms": 4},
        "line": {"lw": 2},
        "dashed": {"lw": 2, "ls": "--"},
    }
    keys = [Line2D([], [], color=color, **looks[look]) for color, look in legend(scene).values()]
    figure.legend(
        keys,
        legend(scene),
        loc="upper left",
        bbox_to_anchor=(0.02, 0.385),
        ncols=3,
        fontsize=6,
        handlelength=1.4,
        columnspacing=1.0,
    )


def draw_moving(axes: Axes, scene: Scene, k: int, text: int) -> None:
    """What moves: the flow at the k-th time, the plans of all texts up to it, and one text's paths
    and push on top.
    """
    places, flow = arrows(scene, k)
    axes.quiver(
        *places.T,
        *flow.T,
        color=NOISE,
        alpha=0.6,
        width=0.005,
        angles="xy",
        pivot="mid",
        scale=16,
        scale_units="width",
    )
    axes.plot(*scene.paths[0, : k + 1].permute(2, 0, 1), color=PALE, lw=0.9)
    axes.scatter(*scene.paths[0, k].T, s=22, color=DATA, edgecolor="white", lw=0.6, zorder=3)
    for order, path in enumerate(drawn(scene, k)):
        part, color = scene.paths[path, began(scene, path) : k + 1, text], colors(scene)[path]
        axes.plot(
            *part.T,
            "-" if path or len(scene.paths) == 1 else "--",
            color=color,
            lw=1.8,
            zorder=4 + order,
        )
        axes.plot(*part[-1], "o", color=color, mec=INK, ms=6, zorder=8)
    if len(scene.paths) > 1 and k >= scene.at:
        axes.plot(*scene.paths[:2, scene.at, text].T, color=INK, lw=2, zorder=9)


def draw(shown: Shown) -> Figure:
    """The picture in print: the plane, a text at a few times or after a kick what the three paths
    say, and the curves.
    """
    scene, k, text = shown.scene, shown.k, shown.text
    figure = Figure(figsize=(WIDTH, 5.4), layout="none")
    plane = figure.add_axes((0.09, 0.45, 0.35, 0.49))
    draw_plane(plane, scene)
    draw_moving(plane, scene, k, text)
    plane.set_title(f"{scene.model}, t = {float(scene.clock[k]):.2f}")
    curves = [figure.add_axes((0.06 + 0.33 * i, 0.085, 0.265, 0.165)) for i in range(3)]
    for ax, title in zip(curves, scene.curves):
        draw_curve(ax, scene, title, text)
        ax.axvline(float(scene.clock[k]), color=INK, lw=0.8)
    draw_legend(figure, scene)
    if len(scene.paths) == 1:
        moments = [round(k * i / (MOMENTS - 1)) for i in range(MOMENTS)]
        said = [
            (f"t = {float(scene.clock[m]):.2f}", INK, spoken_at(Shown(scene, text, m), 0))
            for m in moments
        ]
    else:
        said = [
            (name, color, spoken_at(shown, path))
            for path, (name, color) in enumerate(zip(PATHS, colors(scene)))
        ]
    height = 0.6 / len(said)
    for i, (title, color, spoken) in enumerate(said):
        axes = figure.add_axes((0.47, 0.96 - height * (i + 1), 0.52, height - 0.035))
        axes.text(
            0,
            1 + 0.009 / (height - 0.035),
            title,
            color=color,
            weight="bold",
            fontsize=8,
            transform=axes.transAxes,
        )
        text.on_axes(axes, spoken, columns=66, size=5.7, pitch=0.0285 / (height - 0.035))
    return figure


# --- backdrop and overlay ----------------------------------------------------------------------------------------


class Backdrop:
    """A figure as a picture of the page, and the map from its axes to the units of an SVG laid over
    it.
    """

    def __init__(self, figure: Figure, name: str):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        data = base64.b64encode(pack(canvas.buffer_rgba())).decode()
        self.figure, self.name = figure, name
        self.width, self.height = (round(96 * inches) for inches in figure.get_size_inches())
        self.css = (
            f".{name}{{background:url(data:image/webp;base64,{data});background-size:100% 100%;"
            f"width:{self.width}px;max-width:100%}}"
        )

    def units(self, axes: int, points: Tensor) -> np.ndarray:
        """Points (..., 2) of the i-th axes in whole units of the SVG."""
        flat = (
            self.figure.axes[axes].transData.transform(points.reshape(-1, 2).numpy())
            * 96
            / self.figure.dpi
        )
        return (
            np.rint(np.stack([flat[:, 0], self.height - flat[:, 1]], -1) * UNITS)
            .astype(int)
            .reshape(points.shape)
        )

    def svg(self, content: str, alt: str) -> str:
        """The SVG that lies over the backdrop."""
        return (
            f'<svg class="{self.name}" role="img" aria-label="{alt}" '
            f'viewBox="0 0 {self.width * UNITS} {self.height * UNITS}">{content}</svg>'
        )


def line(points: np.ndarray) -> str:
    """Points (n, 2) as one piece of an SVG path."""
    start, steps = points[0], np.diff(points, axis=0)
    return f"M{start[0]} {start[1]}" + "".join(f"l{x} {y}" for x, y in steps)


def dot(point: np.ndarray, radius: int, color: str, edge: str) -> str:
    """A circle with an edge."""
    return f'<circle cx="{point[0]}" cy="{point[1]}" r="{radius}" fill="{color}" stroke="{edge}" stroke-width="3"/>'


class View:
    """A text of a scene as HTML: plane and curves drawn once, and on top of them what moves; `name`
    is unique on a page.
    """

    def __init__(self, scene: Scene, text: int, name: str):
        self.scene, self.text = scene, text
        plane = Figure(figsize=(4.4, 3.5), dpi=120, layout="none")
        draw_plane(plane.add_axes((0.15, 0.13, 0.84, 0.86)), scene)
        self.plane, self.below = Backdrop(plane, f"plane-{name}"), []
        for i, title in enumerate(scene.curves):
            below = Figure(figsize=(3.05, 1.6), dpi=120, layout="none")
            draw_curve(below.add_axes((0.14, 0.29, 0.83, 0.56)), scene, title, text)
            self.below.append(Backdrop(below, f"below{i}-{name}"))
        self.css = f"<style>{self.plane.css}{''.join(curve.css for curve in self.below)}</style>"

    def flow(self, k: int) -> str:
        """The cloud's flow as pins whose heads point the way."""
        places, flow = arrows(self.scene, k)
        middle, ahead = (
            self.plane.units(0, places),
            np.rint(flow.numpy() * (1, -1) * 9 * UNITS).astype(int),
        )
        shafts = "".join(
            f"M{x - a} {y - b}l{2 * a} {2 * b}" for (x, y), (a, b) in zip(middle, ahead)
        )
        tips = "".join(f"M{x + a} {y + b}h0" for (x, y), (a, b) in zip(middle, ahead))
        return (
            f'<path d="{shafts}" stroke="{NOISE}" stroke-width="3" opacity=".7"/><path d="{tips}" stroke="{NOISE}" '
            f'stroke-width="11" stroke-linecap="round"/>'
        )

    def svg(self, k: int) -> str:
        """The plane at the k-th time."""
        scene, plans = self.scene, self.plane.units(0, self.scene.paths[0, : k + 1].transpose(0, 1))
        content = (
            self.flow(k)
            + f'<path d="{"".join(map(line, plans))}" stroke="{PALE}" stroke-width="4" fill="none"/>'
        )
        content += "".join(dot(plan[-1], 15, DATA, "#fff") for plan in plans)
        for path in drawn(scene, k):
            points, color = (
                self.plane.units(0, scene.paths[path, began(scene, path) : k + 1, self.text]),
                colors(scene)[path],
            )
            dash = "" if path or len(scene.paths) == 1 else ' stroke-dasharray="16 10"'
            content += (
                f'<path d="{line(points)}" stroke="{color}" stroke-width="8" fill="none"{dash}/>'
                + dot(points[-1], 22, color, INK)
            )
        if len(scene.paths) > 1 and k >= scene.at:
            push = self.plane.units(0, scene.paths[:2, scene.at, self.text])
            content += f'<path d="{line(push)}" stroke="{INK}" stroke-width="9"/>'
        return self.plane.svg(
            content,
            f"The texts of {scene.model} in a plane at t = {float(scene.clock[k]):.2f}, on their "
            "way to the cloud of real texts; one is highlighted, after a kick with its three paths.",
        )

    def keys(self) -> str:
        """The legend."""

        def key(color: str, look: str) -> str:
            return (
                f'<i class="dot" style="background:{color}"></i>'
                if look == "dot"
                else f'<i style="border-top-color:{color};border-top-style:{look.replace("line", "solid")}"></i>'
            )

        return "".join(
            f"<span>{key(*look)}{name}</span>" for name, look in legend(self.scene).items()
        )

    def curve(self, i: int, k: int) -> str:
        """The i-th curve below, with dots at the k-th time."""
        scene, title = self.scene, list(self.scene.curves)[i]
        values, marks = scene.curves[title][:, k, self.text], ""
        for path in drawn(scene, k):
            here = torch.tensor([float(scene.clock[k]), float(values[path])])
            marks += dot(self.below[i].units(0, here), 18, colors(scene)[path], INK)
        told = f"{title} {', '.join(f'{x:.2f}' for x in values.tolist())}"
        return f'<div class="below">{self.below[i].svg(marks, told)}</div>'

    def said(self, k: int) -> str:
        """What each path says, and what its shades mean."""
        shown, many = Shown(self.scene, self.text, k), len(self.scene.paths) > 1
        names = [
            f'<b><i style="border-color:{color}"></i>{name}</b>'
            for name, color in zip(PATHS, colors(self.scene))
        ]
        texts = "".join(
            names[path] * many + text.as_html(spoken_at(shown, path))
            for path in range(len(self.scene.paths))
        )
        return f'<div class="said {"three" if many else "one"}">{texts}<p>{text.CAPTION}{text.NEW[many]}</p></div>'

    def page(self, k: int) -> str:
        """One moment: the plane on the left, what is said on the right, the curves below."""
        scene = self.scene
        when = (
            f"pushed at t = {float(scene.clock[scene.at]):.2f}"
            if k >= scene.at
            else "not pushed yet"
        )
        what = f"step {k} of {len(scene.clock) - 1}, text {self.text}" + (
            f", {when}" if len(scene.paths) > 1 else ""
        )
        return (
            f'<div class="scene"><div class="left"><b>{scene.model}, t = {float(scene.clock[k]):.3f}</b>, {what}'
            f'{self.svg(k)}<p class="keys">{self.keys()}</p></div>{self.said(k)}'
            + "".join(self.curve(i, k) for i in range(len(self.below)))
            + "</div>"
        )
