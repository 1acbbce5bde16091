"""A scene as HTML: what does not move is a picture, and what moves is a small SVG over it."""

import base64

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from ..core.figures import free_figure, pack
from ..core.style import CARD, DATA, INK, NOISE
from . import excerpts
from .drawing import PALE, alone, colors, draw_curve, draw_plane, drawn, legend
from .scenes import PATHS, Scene, Shown, arrows, excerpt, first_index

UNITS = 4  # of an SVG's coordinates in a pixel, so that whole numbers make smooth lines
STYLE = (
    "<style>.scene{display:flex;flex-wrap:wrap;gap:6px 14px;max-width:980px;box-sizing:border-box;"
    f"{CARD};font:12px/1.4 sans-serif}}.scene>*{{min-width:0}}.scene p{{margin:2px 0}}"
    ".scene .left{flex:0 1 424px}.scene .said{flex:1 1 260px}.scene .below{flex:1 1 240px}"
    ".scene .keys span{margin-right:12px;white-space:nowrap}"
    ".scene .keys i,.scene b i{display:inline-block;width:16px;border-top:3px solid;"
    "margin-right:4px;vertical-align:middle}"
    ".scene .keys .dot{width:7px;height:7px;border:0;border-radius:50%}"
    ".scene .three .tale{font-size:12px;line-height:1.55}</style>"
)


class Backdrop:
    """A figure as a picture of the page, and the map from its axes to the units of an SVG on it."""

    def __init__(self, figure: Figure, name: str):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        data = base64.b64encode(pack(canvas.buffer_rgba())).decode()
        self.figure = figure
        self.name = name
        self.width, self.height = (round(96 * inches) for inches in figure.get_size_inches())
        self.css = (
            f".{name}{{background:url(data:image/webp;base64,{data});background-size:100% 100%;"
            f"width:{self.width}px;max-width:100%}}"
        )

    def units(self, points: Tensor) -> np.ndarray:
        """Points (..., 2) of the axes in whole units of the SVG."""
        to_dots = self.figure.axes[0].transData.transform
        flat = to_dots(points.reshape(-1, 2).numpy()) * 96 / self.figure.dpi
        places = np.stack([flat[:, 0], self.height - flat[:, 1]], -1) * UNITS
        return np.rint(places).astype(int).reshape(points.shape)

    def svg(self, content: str, alt: str) -> str:
        """The SVG that lies over the backdrop."""
        return (
            f'<svg class="{self.name}" role="img" aria-label="{alt}" '
            f'viewBox="0 0 {self.width * UNITS} {self.height * UNITS}">{content}</svg>'
        )


def line(points: np.ndarray) -> str:
    """Points (n, 2) as one piece of an SVG path."""
    start = points[0]
    steps = np.diff(points, axis=0)
    return f"M{start[0]} {start[1]}" + "".join(f"l{x} {y}" for x, y in steps)


def dot(point: np.ndarray, radius: int, color: str, edge: str) -> str:
    """A circle with an edge."""
    return (
        f'<circle cx="{point[0]}" cy="{point[1]}" r="{radius}" fill="{color}" '
        f'stroke="{edge}" stroke-width="3"/>'
    )


class View:
    """A text of a scene as HTML.

    Args:
        scene: The scene.
        text: Index of the text that is followed.
        name: Unique on a page.
    """

    def __init__(self, scene: Scene, text: int, name: str):
        self.scene = scene
        self.text = text
        plane = free_figure(4.4, 3.5, dpi=120)
        draw_plane(plane.add_axes((0.15, 0.13, 0.84, 0.86)), scene)
        self.plane = Backdrop(plane, f"plane-{name}")
        self.below = []
        for i, title in enumerate(scene.curves):
            below = free_figure(3.05, 1.6, dpi=120)
            draw_curve(below.add_axes((0.14, 0.29, 0.83, 0.56)), scene, title, text)
            self.below.append(Backdrop(below, f"below{i}-{name}"))
        self.css = f"<style>{self.plane.css}{''.join(curve.css for curve in self.below)}</style>"

    def flow(self, k: int) -> str:
        """The cloud's flow as pins whose heads point the way."""
        places, flow = arrows(self.scene, k)
        middles = self.plane.units(places)
        halves = np.rint(flow.numpy() * (1, -1) * 9 * UNITS).astype(int)
        pins = [(x, y, a, b) for (x, y), (a, b) in zip(middles, halves)]
        shafts = "".join(f"M{x - a} {y - b}l{2 * a} {2 * b}" for x, y, a, b in pins)
        tips = "".join(f"M{x + a} {y + b}h0" for x, y, a, b in pins)
        return (
            f'<path d="{shafts}" stroke="{NOISE}" stroke-width="3" opacity=".7"/>'
            f'<path d="{tips}" stroke="{NOISE}" stroke-width="11" stroke-linecap="round"/>'
        )

    def svg(self, k: int) -> str:
        """The plane at the k-th time."""
        scene = self.scene
        plans = self.plane.units(scene.paths[0, : k + 1].transpose(0, 1))
        lines = "".join(map(line, plans))
        parts = [self.flow(k), f'<path d="{lines}" stroke="{PALE}" stroke-width="4" fill="none"/>']
        parts += [dot(plan[-1], 15, DATA, "#fff") for plan in plans]
        for path in drawn(scene, k):
            first = first_index(scene, path)
            points = self.plane.units(scene.paths[path, first : k + 1, self.text])
            color = colors(scene)[path]
            dash = "" if path or alone(scene) else ' stroke-dasharray="16 10"'
            stroke = f'stroke="{color}" stroke-width="8" fill="none"{dash}'
            parts.append(f'<path d="{line(points)}" {stroke}/>{dot(points[-1], 22, color, INK)}')
        if not alone(scene) and k >= scene.at:
            jump = self.plane.units(scene.paths[:2, scene.at, self.text])
            parts.append(f'<path d="{line(jump)}" stroke="{INK}" stroke-width="9"/>')
        return self.plane.svg(
            "".join(parts),
            f"The texts of {scene.model} in a plane at t = {float(scene.times[k]):.2f}, on their "
            "way to the cloud of real texts; one is highlighted, after a disturbance with its "
            "three paths.",
        )

    def keys(self) -> str:
        """The legend."""
        spans = []
        for name, (color, kind) in legend(self.scene).items():
            border = "solid" if kind == "line" else kind
            key = f'<i style="border-top-color:{color};border-top-style:{border}"></i>'
            if kind == "dot":
                key = f'<i class="dot" style="background:{color}"></i>'
            spans.append(f"<span>{key}{name}</span>")
        return "".join(spans)

    def curve(self, i: int, k: int) -> str:
        """The i-th curve below, with dots at the k-th time."""
        scene = self.scene
        title = list(scene.curves)[i]
        values = scene.curves[title][:, k, self.text]
        dots = ""
        for path in drawn(scene, k):
            here = self.below[i].units(torch.stack((scene.times[k], values[path])))
            dots += dot(here, 18, colors(scene)[path], INK)
        alt = f"{title} {', '.join(f'{x:.2f}' for x in values.tolist())}"
        return f'<div class="below">{self.below[i].svg(dots, alt)}</div>'

    def texts(self, k: int) -> str:
        """The text of each path, and what its shades mean."""
        scene = self.scene
        several = not alone(scene)
        shown = Shown(scene, self.text, k)
        parts = []
        for path, (name, color) in enumerate(zip(PATHS, colors(scene))):
            if several:
                parts.append(f'<b><i style="border-color:{color}"></i>{name}</b>')
            parts.append(excerpts.as_html(excerpt(shown, path)))
        caption = f"<p>{excerpts.CAPTION}{excerpts.NEW[several]}</p>"
        return f'<div class="said {"three" if several else "one"}">{"".join(parts)}{caption}</div>'

    def page(self, k: int) -> str:
        """One moment: the plane on the left, the texts on the right, the curves below."""
        scene = self.scene
        about = f"step {k} of {len(scene.times) - 1}, text {self.text}"
        if not alone(scene) and k >= scene.at:
            about += f", disturbed at t = {float(scene.times[scene.at]):.2f}"
        elif not alone(scene):
            about += ", not disturbed yet"
        return (
            f'<div class="scene"><div class="left"><b>{scene.model}, '
            f"t = {float(scene.times[k]):.3f}</b>, {about}{self.svg(k)}"
            f'<p class="keys">{self.keys()}</p></div>{self.texts(k)}'
            f"{''.join(self.curve(i, k) for i in range(len(self.below)))}</div>"
        )
