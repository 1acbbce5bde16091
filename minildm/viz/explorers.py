"""Explorers: one recorded thing, seen live, as frames without a kernel, or as a figure in print."""

import math
from collections.abc import Callable

import ipywidgets as widgets
import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure
from torch import Tensor

from ..dynamics.records import Trajectory
from . import style, words
from .frames import FrameStack
from .pictures import Plane, Strip, draw_paths, draw_plane, draw_strip
from .scenes import Pieces, Scene, moment_of, plane_of, scene_of

Resample = Callable[[int, str, int], Trajectory]  # seed, solver, steps -> a recorded path of several texts


class TrajectoryExplorer:
    """Texts travelling from noise through latents to words: a plane, the decoded text, log-SNR, speed and distance.

    Args: `resample`, (seed, solver, steps) -> `Trajectory` with tokens; `cloud` (points, ...) of data latents, whose two
    widest directions make the plane; `log_snr`, t -> lambda; `pieces`, ids -> strings; `solvers`, names to choose from.
    """

    def __init__(self, resample: Resample, cloud: Tensor, log_snr: Callable[[Tensor], Tensor], pieces: Pieces,
                 solvers: tuple[str, ...] = ("ddim", "ancestral", "euler", "heun"), steps: int = 32, seed: int = 0):
        self.resample, self.cloud, self.log_snr, self.pieces = resample, cloud, log_snr, pieces
        self.solvers, self.steps, self.seed = solvers, steps, seed
        self.directions, self.scenes = plane_of(cloud), {}

    def scene(self, seed: int, solver: str, steps: int) -> Scene:
        """The scene of a run, computed once."""
        key = seed, solver, steps
        if key not in self.scenes:
            path = self.resample(*key)
            self.scenes[key] = scene_of(path, self.cloud, self.directions, self.log_snr, self.pieces)
        return self.scenes[key]

    def start(self) -> Scene:
        """The scene that an explorer opens with."""
        return self.scene(self.seed, self.solvers[0], self.steps)

    def figure(self, text: int = 0, moments: int = 4, height: float = 5.4) -> Figure:
        """The same picture in print: all paths, and one text at a few times."""
        scene = self.start()
        last = len(scene.times) - 1
        figure = plt.figure(figsize=(style.WIDTH, height))
        grid = figure.add_gridspec(2, 1, height_ratios=(3, 1))
        top = grid[0].subgridspec(moments, 2, width_ratios=(1, 1.25))
        plane = figure.add_subplot(top[:, 0])
        draw_plane(plane, scene)
        draw_paths(plane, scene, last, text)
        for i in range(moments):
            moment = moment_of(scene, round(last * i / (moments - 1)), text)
            axes = figure.add_subplot(top[i, 1])
            axes.set_title(f"t = {moment.t:.2f}", fontsize=8)
            words.on_axes(axes, moment)
        draw_strip([figure.add_subplot(part) for part in grid[1].subgridspec(1, 3)], scene)
        return figure

    def frames(self, texts: int = 2, moments: int = 17) -> FrameStack:
        """Pre-rendered frames that move without a kernel: `texts` by `moments`."""
        scene = self.start()
        views, last = Views(scene, "frames"), len(scene.times) - 1
        times = [round(last * i / (moments - 1)) for i in range(moments)]
        return FrameStack([[views.page(k, text) for k in times] for text in range(texts)], style=views.css)

    def live(self) -> "LiveTrajectory":
        """The explorer with a kernel: any seed, solver and number of steps."""
        return LiveTrajectory(self)


class Views:
    """The plane, the text and the strip of a scene as HTML; `name` tells the explorers of one page apart."""

    def __init__(self, scene: Scene, name: str):
        self.scene, self.plane, self.strip = scene, Plane(scene, f"plane-{name}"), Strip(scene, f"strip-{name}")
        self.css = words.STYLE + (
            "<style>.scene{display:grid;grid-template-columns:auto minmax(260px,1fr);gap:2px 12px;max-width:920px}"
            f".scene .strip{{grid-column:1/3}}{self.plane.css}{self.strip.css}</style>")

    def page(self, k: int, text: int) -> str:
        """One moment: the plane on the left, the text on the right, the strip below."""
        moment = moment_of(self.scene, k, text)
        return (f'<div class="scene">{self.plane.at(k, text)}<div><b>t = {moment.t:.3f}</b> · text {text}'
                f'{words.as_html(moment)}</div><div class="strip">{self.strip.at(k, text)}</div></div>')


class LiveTrajectory:
    """Controls and picture of a `TrajectoryExplorer`; values change the picture at once, with or without a browser."""

    def __init__(self, explorer: TrajectoryExplorer):
        self.explorer = explorer
        counts = sorted({8, 16, 32, 64, explorer.steps})
        texts = explorer.start().paths.shape[1]
        self.seed = widgets.BoundedIntText(explorer.seed, min=0, max=9999, description="seed")
        self.solver = widgets.Dropdown(options=explorer.solvers, description="solver")
        self.steps = widgets.SelectionSlider(options=counts, value=explorer.steps, description="steps",
                                             continuous_update=False)
        self.text = widgets.IntSlider(0, 0, texts - 1, description="text")
        self.time = widgets.IntSlider(0, 0, explorer.steps, description="time")
        self.play = widgets.Play(value=0, min=0, max=explorer.steps, interval=250)
        self.link = widgets.jslink((self.play, "value"), (self.time, "value"))
        self.style, self.view = widgets.HTML(), widgets.HTML()
        for control in (self.seed, self.solver, self.steps):
            control.observe(self.restart, "value")
        for control in (self.text, self.time):
            control.observe(self.redraw, "value")
        self.box = widgets.VBox([
            widgets.HBox([self.seed, self.solver, self.steps]), widgets.HBox([self.play, self.time, self.text]),
            self.style, self.view])
        self.restart()

    def restart(self, change=None) -> None:
        """Fetch the run that the controls name and draw it from where the time stands."""
        self.scene = self.explorer.scene(self.seed.value, self.solver.value, self.steps.value)
        self.views = Views(self.scene, "live")
        self.style.value = self.views.css
        last = len(self.scene.times) - 1
        share = self.time.value / self.time.max
        self.play.max = self.time.max = last
        self.time.value = math.floor(share * last + 0.5)
        self.redraw()

    def redraw(self, change=None) -> None:
        """Show the moment that the controls name."""
        self.view.value = self.views.page(self.time.value, self.text.value)

    def show(self) -> None:
        """Display the explorer under a cell."""
        display(self.box)
