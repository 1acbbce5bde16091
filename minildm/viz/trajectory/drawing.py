"""The picture of a scene, drawn with matplotlib."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..core.figures import free_figure
from ..core.style import CONTROL, DATA, ERROR, INK, NOISE, WIDTH
from . import excerpts
from .scenes import PATHS, Scene, Shown, arrows, excerpt, first_index, limits

PALE = "#7aa6c2"
MOMENTS = 4  # of an undisturbed text in print
LINE_STYLES = {
    "dot": {"ls": "", "marker": "o", "ms": 4},
    "line": {"lw": 2},
    "dashed": {"lw": 2, "ls": "--"},
}


def alone(scene: Scene) -> bool:
    """Whether a scene has no disturbance, so that the plan is its only path."""
    return len(scene.paths) == 1


def colors(scene: Scene) -> tuple[str, ...]:
    """Of the paths: a plan is orange where it is alone, and gray beside disturbed ones."""
    return (CONTROL,) if alone(scene) else (NOISE, CONTROL, ERROR)


def drawn(scene: Scene, k: int) -> list[int]:
    """Paths that are drawn at the k-th time, the most important last."""
    order = (0,) if alone(scene) else (0, 2, 1)
    return [path for path in order if k >= first_index(scene, path)]


def legend(scene: Scene) -> dict[str, tuple[str, str]]:
    """What the plane shows: name -> its color, and its kind of LINE_STYLES."""
    found = {"real texts": (DATA, "dot"), "other texts": (PALE, "line")}
    if scene.log_snr is not None:
        found["flow if the real texts were all data"] = (NOISE, "line")
    if alone(scene):
        return {**found, "the text on the right": (CONTROL, "line")}
    found.update(zip(PATHS, zip(colors(scene), ("dashed", "line", "line"))))
    return {**found, "disturbance": (INK, "line")}


def draw_plane(axes: Axes, scene: Scene) -> None:
    """Draw what does not move: the cloud of real texts, in a window that holds all paths."""
    (left, bottom), (right, top) = (corner.tolist() for corner in limits(scene))
    axes.scatter(*scene.cloud.T, s=9, color=DATA, alpha=0.3, lw=0)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_xlabel("the mean way of these texts, from start to end", fontsize=8)
    axes.set_ylabel("widest other way of real texts", fontsize=8)


def draw_curve(axes: Axes, scene: Scene, title: str, text: int) -> None:
    """Draw a curve of one text, for all paths from where they are drawn."""
    for path, color in enumerate(colors(scene)):
        first = first_index(scene, path)
        dashes = "-" if path or alone(scene) else "--"
        values = scene.curves[title][path, first:, text]
        axes.plot(scene.times[first:], values, dashes, color=color, lw=1.3)
    axes.set_xlim(-0.02, 1.02)
    axes.margins(y=0.12)
    axes.set_title(title, fontsize=8)
    axes.set_xlabel("time t", labelpad=1, fontsize=8)


def draw_legend(figure: Figure, scene: Scene) -> None:
    """Draw the names of what the plane shows, below it."""
    entries = legend(scene)
    lines = [Line2D([], [], color=color, **LINE_STYLES[kind]) for color, kind in entries.values()]
    figure.legend(
        lines,
        list(entries),
        loc="upper left",
        bbox_to_anchor=(0.02, 0.385),
        ncols=3,
        fontsize=6,
        handlelength=1.4,
        columnspacing=1.0,
    )


def draw_moving(axes: Axes, scene: Scene, k: int, text: int) -> None:
    """Draw what moves: the flow at the k-th time, all plans up to it, and one text's paths."""
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
        part = scene.paths[path, first_index(scene, path) : k + 1, text]
        color = colors(scene)[path]
        dashes = "-" if path or alone(scene) else "--"
        axes.plot(*part.T, dashes, color=color, lw=1.8, zorder=4 + order)
        axes.plot(*part[-1], "o", color=color, mec=INK, ms=6, zorder=8)
    if not alone(scene) and k >= scene.at:
        axes.plot(*scene.paths[:2, scene.at, text].T, color=INK, lw=2, zorder=9)


def draw(shown: Shown) -> Figure:
    """The picture in print: the plane, texts, and the curves.

    An undisturbed text is shown at a few times; after a disturbance the three paths are compared.
    """
    scene, k, text = shown.scene, shown.k, shown.text
    now = float(scene.times[k])
    figure = free_figure(WIDTH, 5.4)
    plane = figure.add_axes((0.09, 0.45, 0.35, 0.49))
    draw_plane(plane, scene)
    draw_moving(plane, scene, k, text)
    plane.set_title(f"{scene.model}, t = {now:.2f}")
    for i, title in enumerate(scene.curves):
        axes = figure.add_axes((0.06 + 0.33 * i, 0.085, 0.265, 0.165))
        draw_curve(axes, scene, title, text)
        axes.axvline(now, color=INK, lw=0.8)
    draw_legend(figure, scene)
    if alone(scene):
        moments = [round(k * i / (MOMENTS - 1)) for i in range(MOMENTS)]
        texts = [
            (f"t = {float(scene.times[m]):.2f}", INK, excerpt(Shown(scene, text, m), 0))
            for m in moments
        ]
    else:
        names = zip(PATHS, colors(scene))
        texts = [(name, color, excerpt(shown, i)) for i, (name, color) in enumerate(names)]
    pitch = 0.6 / len(texts)
    height = pitch - 0.035
    for i, (title, color, part) in enumerate(texts):
        axes = figure.add_axes((0.47, 0.96 - pitch * (i + 1), 0.52, height))
        font = {"color": color, "weight": "bold", "fontsize": 8}
        axes.text(0, 1 + 0.009 / height, title, transform=axes.transAxes, **font)
        excerpts.on_axes(axes, part, columns=66, size=5.7, pitch=0.0285 / height)
    return figure
