"""Chapter 12: the recipe switchboard, with training curves and figures of an ablation."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from ..core import style
from ..core.figures import panels
from ..core.frames import FrameStack
from ..core.knobs import Control

INGREDIENTS = ("MSE on states", "warm-up", "adaptive time", "decoder noise")
CURVES = {"diffusion": style.CONTROL, "tokens": style.DATA}  # a term of the loss -> its color
FIGURES = {
    "reconstruction": "{:.1%}",
    "good_sentences": "{:.1%}",
    "grammatical": "{:.1%}",
    "entropy": "{:.2f} nats",
    "different_words": "{:.0f}",
    "latent_std": "{:.2f}",
    "latent_rank": "{:.1f}",
}
WIDE = 330  # of a frame's curves, in pixels
HIGH = 190
TOP = 7.0  # nats at the upper edge
CSS = (
    f"<style>.recipe{{display:flex;flex-wrap:wrap;gap:4px 18px;font:13px sans-serif;{style.CARD}}}"
    ".recipe .head{flex:1 1 100%}.recipe td{padding:1px 8px 1px 0}"
    ".recipe b{display:inline-block;padding:1px 7px;margin:2px;border-radius:8px;font-weight:400;"
    f"color:{style.INK};background:{style.GRID}}}"
    f".recipe .on{{color:{style.PAPER};background:{style.VALUE}}}</style>"
)


def switches(recipe: dict) -> dict[str, bool]:
    """Which of the four ingredients of LDLM a recipe has.

    Args:
        recipe: The fields of a `Recipe`.

    Returns:
        Ingredient -> on or off.
    """
    on = (
        recipe["decoder_loss"] == "mse",
        recipe["warmup"] > 0,
        recipe["adaptive_time"],
        recipe["decoder_noise"] > 0,
    )
    return dict(zip(INGREDIENTS, on))


def table(heads: Sequence[str], columns: Sequence[dict]) -> str:
    """The FIGURES of some runs as an HTML table.

    Args:
        heads: Of the first column and of each run.
        columns: A figure by its name, for each run.

    Returns:
        The table.
    """
    rows = [heads]
    for name, form in FIGURES.items():
        rows.append([name.replace("_", " "), *(form.format(column[name]) for column in columns)])
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def over_runs(statistic: Callable[[list[float]], float], runs: list[dict]) -> dict[str, float]:
    """A statistic of each of the FIGURES."""
    return {name: statistic([run[name] for run in runs]) for name in FIGURES}


class RecipeSwitchboard:
    """Runs of an ablation, picked by switching ingredients on and off.

    Args:
        study: {"rows": [{"variant", "seed", figures, "curve": {"step", "tokens", "diffusion"}}],
            "recipes": {variant: fields}}.
    """

    def __init__(self, study: dict):
        self.recipes = study["recipes"]
        self.seeds = sorted({run["seed"] for run in study["rows"]})
        self.runs = {(run["variant"], run["seed"]): run for run in study["rows"]}
        self.variants = [v for v in self.recipes if (v, self.seeds[0]) in self.runs]

    def of(self, variant: str) -> list[dict]:
        """The runs of a variant, one a seed."""
        return [self.runs[variant, seed] for seed in self.seeds if (variant, seed) in self.runs]

    def matching(self, on: dict[str, bool]) -> list[str]:
        """Variants with exactly these ingredients."""
        return [v for v in self.variants if switches(self.recipes[v]) == on]

    def head(self, variant: str, runs: str) -> str:
        """What a recipe sets, as HTML: a badge for each ingredient, and the rest in words."""
        recipe = self.recipes[variant]
        badges = " ".join(
            f'<b class="{"on" if on else "off"}">{"" if on else "no "}{name}</b>'
            for name, on in switches(recipe).items()
        )
        scale = recipe["encoder_gradient_scale"]
        return (
            f'<div class="recipe"><div class="head"><i>{variant}</i>, {runs} {badges}<br>'
            f"latent norm: {recipe['latent_norm']}; encoder gradient scale: {scale:g}</div>"
        )

    def page(self, variant: str, seed: int) -> str:
        """One run as HTML: its switches, its curves, its figures beside the variant's means."""
        run = self.runs.get((variant, seed))
        if run is None:
            return f"<p>{variant}, seed {seed}: not run</p>"
        figures = table(["", "this seed", "mean"], [run, over_runs(fmean, self.of(variant))])
        return f"{self.head(variant, f'seed {seed}')}{self.curves([run['curve']])}{figures}</div>"

    def moment(self, variant: str, points: int) -> str:
        """All runs of a variant as HTML: curves up to a number of points, and the final figures."""
        runs = self.of(variant)
        extremes = [over_runs(min, runs), over_runs(max, runs)]
        return (
            f"{self.head(variant, f'{len(runs)} seeds')}"
            f"{self.curves([run['curve'] for run in runs], points)}"
            f"{table(['after training', 'least', 'most'], extremes)}</div>"
        )

    def curves(self, curves: list[dict], points: int | None = None) -> str:
        """The two terms of runs against steps, as a small SVG whose lower edge is zero.

        Args:
            curves: Of the runs.
            points: How many of each to show, by default all.

        Returns:
            The SVG.
        """
        width = 2 if len(curves) == 1 else 1
        parts = []
        for i, (term, color) in enumerate(CURVES.items()):
            for curve in curves:
                at = " ".join(
                    f"{WIDE * s / curve['step'][-1]:.0f},{HIGH * (1 - min(y, TOP) / TOP):.0f}"
                    for s, y in list(zip(curve["step"], curve[term]))[:points]
                )
                stroke = f'fill="none" stroke="{color}" stroke-width="{width}"'
                parts.append(f'<polyline points="{at}" {stroke}/>')
            parts.append(
                f'<text x="{WIDE - 8}" y="{16 + 16 * i}" fill="{style.INK}" text-anchor="end">'
                f'<tspan fill="{color}">●</tspan> {term}</text>'
            )
        border = "border-left:1px solid #777;border-bottom:1px solid #777"
        return f'<svg width="{WIDE}" height="{HIGH}" style="{border}">{"".join(parts)}</svg>'

    def frames(self, variants: Sequence[str] | None = None) -> FrameStack:
        """Frames that move without a kernel: curves that grow with training, a row a variant."""
        variants = variants or self.variants
        moments = len(self.of(variants[0])[0]["curve"]["step"]) + 1
        pages = [[self.moment(variant, k) for k in range(moments)] for variant in variants]
        return FrameStack(pages, ("recipe", "training"), CSS)

    def figure(self) -> Figure:
        """The same in print: the curves of all seeds, a panel for each variant."""
        figure, axes = panels(3, -(-len(self.variants) // 3), height=1.7)
        for axis, variant in zip(axes, self.variants):
            for run in self.of(variant):
                for term, color in CURVES.items():
                    label = term if run["seed"] == self.seeds[0] and axis is axes[0] else None
                    curve = run["curve"]
                    axis.plot(curve["step"], curve[term], color=color, lw=1.1, label=label)
            axis.set_title(variant, fontsize=8)
            axis.set_yscale("symlog", linthresh=0.1)
            axis.set_ylim(0, 10)
        axes[0].legend()
        for axis in axes[len(self.variants) :]:
            axis.set_axis_off()
        return figure

    def live(self) -> "LiveSwitchboard":
        """The switchboard with a kernel: four switches."""
        return LiveSwitchboard(self)


class LiveSwitchboard:
    """Four switches, a choice among the recipes that have just these ingredients, and a seed."""

    def __init__(self, board: RecipeSwitchboard):
        self.board = board
        self.switches = {
            name: widgets.ToggleButton(True, description=name, icon="check") for name in INGREDIENTS
        }
        self.variant: Control = widgets.Dropdown(description="recipe")
        self.seed: Control = widgets.Dropdown(options=board.seeds, description="seed")
        self.view = widgets.HTML()
        for button in self.switches.values():
            button.observe(self.switched, "value")
        for choice in (self.variant, self.seed):
            choice.observe(self.redraw, "value")
        buttons = widgets.HBox([*self.switches.values()])
        choices = widgets.HBox([self.variant, self.seed])
        self.box = widgets.VBox([buttons, choices, widgets.HTML(CSS), self.view])
        self.switched()

    def switched(self, change: Any = None) -> None:
        """Offer the recipes with the ingredients that are on."""
        found = self.board.matching({name: button.value for name, button in self.switches.items()})
        self.variant.options = found
        self.variant.value = found[0] if found else None
        self.redraw()

    def redraw(self, change: Any = None) -> None:
        """Show the chosen run, or say that nobody ran it."""
        self.view.value = (
            "<p>These ingredients were not run together: train them yourself.</p>"
            if self.variant.value is None
            else self.board.page(self.variant.value, self.seed.value)
        )
