"""The style of the book's figures: one color for each idea.

Color-blind readers can tell the colors apart; in gray print, labels and line styles do so.
"""

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.rcsetup import cycler

NOISE = "#8a8a8a"
DATA = "#0072b2"
CONTROL = "#e69f00"
VALUE = "#6a3d9a"
ERROR = "#c1272d"
INK = "#222222"
PAPER = "#ffffff"
GRID = "#e3e3e3"
TIME = LinearSegmentedColormap.from_list("noise_to_data", ["#b5b5b5", "#7aa6c2", DATA])
WIDTH = 7.0  # of a figure, in inches
CARD = "color:#222;background:#fff;border-radius:6px;padding:6px"  # of HTML, in any theme


def use() -> None:
    """Set matplotlib's defaults to the style of the book."""
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH, 2.8),
            "figure.dpi": 100,
            "figure.facecolor": PAPER,
            "savefig.facecolor": PAPER,
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "mathtext.fontset": "dejavusans",
            "axes.titlesize": 9.5,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.labelsize": 9,
            "axes.titley": 1.0,  # a fixed height: looking for one takes a tenth of a drawing
            "axes.edgecolor": "#777777",
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=[DATA, CONTROL, VALUE, ERROR, NOISE]),
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "lines.linewidth": 1.6,
            "legend.frameon": False,
            "legend.fontsize": 8,
        }
    )
