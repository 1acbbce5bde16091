"""The two pictures of a scene: a backdrop that matplotlib draws once, and on top of it what moves, as a small SVG."""

import base64

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from .figures import pack
from .scenes import Scene, flow_of, moment_of
from .style import CONTROL, DATA, ERROR, INK, NOISE, TIME, VALUE

UNITS = 4  # of an SVG's coordinates, in one pixel of the page: enough for smooth lines in whole numbers
COLUMNS, ROWS = 11, 7  # arrows of the flow


# --- drawn with matplotlib ---------------------------------------------------------------------------------------

def draw_plane(axes: Axes, scene: Scene) -> None:
    """What does not move: the cloud of data, and axes that hold it and all paths."""
    both = torch.cat([scene.paths.flatten(0, 1), scene.cloud])
    low, high = both.min(0).values, both.max(0).values
    margin = 0.06 * (high - low)
    axes.set_xlim(float(low[0] - margin[0]), float(high[0] + margin[0]))
    axes.set_ylim(float(low[1] - margin[1]), float(high[1] + margin[1]))
    axes.scatter(*scene.cloud.T, s=9, color=DATA, alpha=0.35, lw=0)
    axes.set_xlabel("widest direction of the data latents")
    axes.set_ylabel("second")


def draw_strip(axes: list[Axes], scene: Scene) -> None:
    """Log-SNR, speed and distance to the end over time, for all texts."""
    curves = (("log-SNR λ(t)", scene.log_snr, VALUE), ("speed |dz/dt|", scene.speed, CONTROL),
              ("distance to the end", scene.distance, ERROR))
    for ax, (title, values, color) in zip(axes, curves):
        ax.plot(scene.times, values, color=color, lw=0.7, alpha=1.0 if values.dim() == 1 else 0.45)
        ax.set_title(title, fontsize=8)
        ax.set_xlabel("t", labelpad=1)


def draw_paths(axes: Axes, scene: Scene, k: int, text: int) -> None:
    """What moves, in print: the flow at the k-th time, the paths up to it, and one text's path on top."""
    moment, (places, flow) = moment_of(scene, k, text), arrows(scene, k)
    axes.quiver(*places.T, *flow.T, color=NOISE, alpha=0.6, width=0.004, angles="xy", pivot="mid", scale=16,
                scale_units="width")
    tails = moment.tails.transpose(0, 1).numpy()
    axes.add_collection(LineCollection(list(tails), colors=[TIME(0.5)], lw=0.9))
    axes.scatter(*moment.tails[-1].T, s=22, color=DATA, edgecolor="white", lw=0.6, zorder=3)
    axes.plot(*tails[text].T, color=CONTROL, lw=1.8, zorder=4)
    axes.scatter(*tails[text, -1:].T, s=52, color=CONTROL, edgecolor=INK, lw=0.8, zorder=5)


def arrows(scene: Scene, k: int) -> tuple[Tensor, Tensor]:
    """Places on a grid and the direction of the cloud's flow there at the k-th time; lengths go with the square root."""
    both = torch.cat([scene.paths.flatten(0, 1), scene.cloud])
    sides = [torch.linspace(float(a), float(b), n) for a, b, n in zip(both.min(0).values, both.max(0).values, (COLUMNS, ROWS))]
    places = torch.cartesian_prod(*sides)
    flow = flow_of(scene.cloud, places, float(scene.log_snr[k]))
    length = flow.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return places, flow / (length * length.max()).sqrt()


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


class Plane(Backdrop):
    """The plane of latents: flow, paths up to a time, and one text's path on top."""

    def __init__(self, scene: Scene, name: str):
        self.scene = scene
        figure = Figure(figsize=(4.6, 3.6), dpi=120, layout="none")
        draw_plane(figure.add_axes((0.115, 0.125, 0.875, 0.855)), scene)
        super().__init__(figure, name)

    def at(self, k: int, text: int) -> str:
        """The plane at the k-th time."""
        moment, (places, flow) = moment_of(self.scene, k, text), arrows(self.scene, k)
        middle, ahead = self.units(0, places), flow.numpy() * (1, -1) * 9 * UNITS
        shafts = [np.rint([m - a, m + a]).astype(int) for m, a in zip(middle, ahead)]
        tips = [s[1] for s in shafts]
        tails = self.units(0, moment.tails.transpose(0, 1))
        content = (
            f'<path d="{"".join(map(line, shafts))}" stroke="{NOISE}" stroke-width="3" opacity=".7"/>'
            f'<path d="{"".join(f"M{x} {y}h0" for x, y in tips)}" stroke="{NOISE}" stroke-width="11" stroke-linecap="round"/>'
            f'<path d="{"".join(map(line, tails))}" stroke="#7aa6c2" stroke-width="4" fill="none"/>'
            + "".join(dot(tail[-1], 15, DATA, "#fff") for tail in tails)
            + f'<path d="{line(tails[text])}" stroke="{CONTROL}" stroke-width="8" fill="none"/>'
            + dot(tails[text, -1], 24, CONTROL, INK))
        return self.svg(content, f"The latents of {len(tails)} texts in a plane at t = {moment.t:.2f}, on their way from "
                                 "noise at the center to the cloud of data; one path is highlighted.")


class Strip(Backdrop):
    """The curves below: one text's curve and where the moment stands on it."""

    def __init__(self, scene: Scene, name: str):
        self.scene = scene
        figure = Figure(figsize=(9.2, 1.5), dpi=120, layout="none")
        draw_strip([figure.add_axes((0.035 + 0.335 * i, 0.27, 0.285, 0.56)) for i in range(3)], scene)
        super().__init__(figure, name)

    def at(self, k: int, text: int) -> str:
        """The strip at the k-th time."""
        moment, content = moment_of(self.scene, k, text), ""
        here = (moment.log_snr, moment.speed, moment.distance)
        for i, (value, color) in enumerate(zip(here, (VALUE, CONTROL, ERROR))):
            content += dot(self.units(i, torch.tensor([moment.t, value])), 20, color, INK)
        return self.svg(content, f"At t = {moment.t:.2f}: log-SNR {here[0]:.1f}, speed {here[1]:.2f}, "
                                 f"distance to the end {here[2]:.2f}.")
