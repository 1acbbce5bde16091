"""Figures as bytes: small files that look the same in a notebook, on a page and in print."""

import io

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from .style import WIDTH


def panels(columns: int, rows: int = 1, height: float = 2.6) -> tuple[Figure, list]:
    """A figure of the book's width with its axes in reading order; `height` of one row in inches."""
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, rows * height), squeeze=False)
    return figure, list(axes.flat)


def picture(figure: Figure, kind: str = "PNG", dpi: int = 140, colors: int = 128) -> bytes:
    """A figure as an image file with a small palette, closed afterwards; `kind` is "PNG" or "WEBP"."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    plt.close(figure)
    image = Image.open(drawn).convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    if kind == "WEBP":
        image.convert("RGB").save(packed, "WEBP", lossless=True, quality=100, method=4)
    else:
        image.save(packed, "PNG", optimize=True)
    return packed.getvalue()
