"""The recipe switchboard: which ingredients are on, and the training curves and figures of the runs
with just these.
"""

from collections.abc import Sequence
from statistics import fmean

import ipywidgets as widgets
from matplotlib.figure import Figure

from ..core import style
from ..core.figures import panels
from ..core.frames import FrameStack

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
WIDE, HIGH, TOP = 330, 190, 7.0  # of a frame's curves: pixels, and nats at the upper edge
CSS = (
    f"<style>.recipe{{display:flex;flex-wrap:wrap;gap:4px 18px;font:13px sans-serif;{style.CARD}}}"
    ".recipe .head{flex:1 1 100%}.recipe td{padding:1px 8px 1px 0}"
    f".recipe b{{display:inline-block;padding:1px 7px;margin:2px;border-radius:8px;font-weight:400;color:{style.INK};"
    f"background:{style.GRID}}}.recipe .on{{color:{style.PAPER};background:{style.VALUE}}}</style>"
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


def extras(recipe: dict) -> str:
    """What else a recipe sets, in words."""
    return f"latent norm: {recipe['latent_norm']}; encoder gradient scale: {recipe['encoder_gradient_scale']:g}"


class RecipeSwitchboard:
    """Runs of an ablation, picked by switching ingredients on and off.

    Args:
        study: : {"runs": [{"variant", "seed", figures, "curve": {"step", "tokens", "diffusion"}}],
            "recipes": {variant: fields}}.
    """

    def __init__(self, study: dict):
        self.recipes, self.seeds = study["recipes"], sorted({run["seed"] for run in study["runs"]})
        self.runs = {(run["variant"], run["seed"]): run for run in study["runs"]}
        self.variants = [v for v in self.recipes if (v, self.seeds[0]) in self.runs]

    def of(self, variant: str) -> list[dict]:
        """The runs of a variant, one a seed."""
        return [self.runs[variant, seed] for seed in self.seeds if (variant, seed) in self.runs]

    def matching(self, on: dict[str, bool]) -> list[str]:
        """Variants with exactly these ingredients."""
        return [v for v in self.variants if switches(self.recipes[v]) == on]

    def head(self, variant: str) -> str:
        """What a recipe sets, as HTML: a badge for each ingredient, and the rest in words."""
        chips = " ".join(
            f'<b class="{"on" if on else "off"}">{"" if on else "no "}{name}</b>'
            for name, on in switches(self.recipes[variant]).items()
        )
        return f"{chips}<br>{extras(self.recipes[variant])}"

    def page(self, variant: str, seed: int) -> str:
        """One run as HTML: its switches, its curves, its figures beside the variant's means."""
        run = self.runs.get((variant, seed))
        if run is None:
            return f"<p>{variant}, seed {seed}: not run</p>"
        mean = {name: fmean(other[name] for other in self.of(variant)) for name in FIGURES}
        rows = "".join(
            f"<tr><td>{name.replace('_', ' ')}</td><td>{form.format(run[name])}</td>"
            f"<td>{form.format(mean[name])}</td></tr>"
            for name, form in FIGURES.items()
        )
        return (
            f'<div class="recipe"><div class="head"><i>{variant}</i>, seed {seed} {self.head(variant)}</div>'
            f"{self.curves([run['curve']])}"
            f"<table><tr><td></td><td>this seed</td><td>mean</td></tr>{rows}</table></div>"
        )

    def moment(self, variant: str, points: int) -> str:
        """All runs of a variant as HTML: their curves up to a number of points, and their figures
        after training.
        """
        runs = self.of(variant)
        rows = "".join(
            f"<tr><td>{name.replace('_', ' ')}</td><td>{form.format(min(run[name] for run in runs))}</td>"
            f"<td>{form.format(max(run[name] for run in runs))}</td></tr>"
            for name, form in FIGURES.items()
        )
        return (
            f'<div class="recipe"><div class="head"><i>{variant}</i>, {len(runs)} seeds {self.head(variant)}</div>'
            f"{self.curves([run['curve'] for run in runs], points)}"
            f"<table><tr><td>after training</td><td>least</td><td>most</td></tr>{rows}</table></div>"
        )

    def curves(self, curves: list[dict], points: int | None = None) -> str:
        """The two terms of runs against steps, as a small SVG, up to a number of points; zero is
        the lower edge.
        """
        lines = ""
        for i, (term, color) in enumerate(CURVES.items()):
            for curve in curves:
                at = " ".join(
                    f"{WIDE * s / curve['step'][-1]:.0f},{HIGH * (1 - min(y, TOP) / TOP):.0f}"
                    for s, y in list(zip(curve["step"], curve[term]))[:points]
                )
                lines += f'<polyline points="{at}" fill="none" stroke="{color}" stroke-width="{2 if len(curves) == 1 else 1}"/>'
            lines += (
                f'<text x="{WIDE - 8}" y="{16 + 16 * i}" fill="{style.INK}" text-anchor="end">'
                f'<tspan fill="{color}">●</tspan> {term}</text>'
            )
        return (
            f'<svg width="{WIDE}" height="{HIGH}" style="border-left:1px solid #777;border-bottom:1px solid #777">'
            f"{lines}</svg>"
        )

    def frames(self, variants: Sequence[str] | None = None) -> FrameStack:
        """Frames that move without a kernel: the curves of all seeds grow with training, a row for
        each variant.
        """
        variants = variants or self.variants
        moments = len(self.of(variants[0])[0]["curve"]["step"]) + 1
        return FrameStack(
            [[self.moment(v, k) for k in range(moments)] for v in variants],
            ("recipe", "training"),
            CSS,
        )

    def figure(self) -> Figure:
        """The same in print: the curves of all seeds, a panel for each variant."""
        figure, axes = panels(3, -(-len(self.variants) // 3), height=1.7)
        for axis, variant in zip(axes, self.variants):
            for run in self.of(variant):
                for term, color in CURVES.items():
                    label = term if run["seed"] == self.seeds[0] and axis is axes[0] else None
                    axis.plot(
                        run["curve"]["step"], run["curve"][term], color=color, lw=1.1, label=label
                    )
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
        self.variant = widgets.Dropdown(description="recipe")
        self.seed = widgets.Dropdown(options=board.seeds, description="seed")
        self.view = widgets.HTML()
        for button in self.switches.values():
            button.observe(self.switched, "value")
        for choice in (self.variant, self.seed):
            choice.observe(self.redraw, "value")
        self.box = widgets.VBox(
            [
                widgets.HBox([*self.switches.values()]),
                widgets.HBox([self.variant, self.seed]),
                widgets.HTML(CSS),
                self.view,
            ]
        )
        self.switched()

    def switched(self, change=None) -> None:
        """Offer the recipes with the ingredients that are on."""
        found = self.board.matching({name: button.value for name, button in self.switches.items()})
        self.variant.options = found
        self.variant.value = found[0] if found else None
        self.redraw()

    def redraw(self, change=None) -> None:
        """Show the chosen run, or say that nobody ran it."""
        self.view.value = (
            "<p>These ingredients were not run together: train them yourself.</p>"
            if self.variant.value is None
            else self.board.page(self.variant.value, self.seed.value)
        )
