"""Figures as bytes: small files that look the same in a notebook, on a page and in print."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from .style import WIDTH


def panels(columns: int, rows: int = 1, height: float = 2.6, **grid) -> tuple[Figure, list]:
    """A figure of the book's width with its axes in reading order.

    Pyplot does not know of the figure, because JupyterLab may draw widgets and cells in different
    threads.

    Args:
        columns: Number of columns.
        rows: Number of rows.
        height: Height of one row in inches.
        grid: Passed on to `Figure.subplots`.

    Returns:
        The figure and a list of its axes.
    """
    figure = Figure(figsize=(WIDTH, rows * height))
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **grid).flat)


def free_figure(width: float, height: float, dpi: float = 100) -> Figure:
    """A figure of this size in inches, whose axes stay where they are put."""
    figure = Figure(figsize=(width, height), dpi=dpi)
    figure.set_layout_engine("none")
    return figure


def few_colors(image: Image.Image, colors: int) -> Image.Image:
    """Reduce an image to a palette that keeps small areas of a strong color."""
    return image.convert("RGB").quantize(
        colors, kmeans=1, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
    )


def pack(pixels: ArrayLike, colors: int = 64) -> bytes:
    """Encode pixels (height, width, 4) as a small WebP file."""
    packed = io.BytesIO()
    image = few_colors(Image.fromarray(np.asarray(pixels)), colors).convert("RGB")
    image.save(packed, "WEBP", lossless=True, quality=100, method=4)
    return packed.getvalue()


def picture(figure: Figure) -> bytes:
    """Encode a figure as a PNG file with a small palette."""
    drawn = io.BytesIO()
    packed = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    few_colors(Image.open(drawn), 64).save(packed, "PNG", optimize=True)
    return packed.getvalue()
