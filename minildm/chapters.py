"""What a chapter stands on: `book = minildm.chapter(12)` seeds, picks sizes and shows figures."""

import base64
import os
from dataclasses import dataclass

import torch
from IPython.display import display
from matplotlib.figure import Figure

from .errors import UserError
from .studies.record import results
from .viz.core import style
from .viz.core.figures import picture


@dataclass(frozen=True)
class Sizes:
    """How much a chapter computes; chapters read sizes and never branch on the mode."""

    texts: int  # texts written or read at once
    draws: int  # random draws of an estimate
    steps: int  # solver steps of a generation
    train: int  # optimizer steps, where a chapter trains
    batch: int  # texts an optimizer step
    seeds: int  # repetitions, where a result is a range


MODES = {
    # seconds, for tests
    "fast": Sizes(texts=8, draws=500, steps=8, train=8, batch=8, seeds=2),
    # minutes, the committed outputs
    "laptop": Sizes(texts=64, draws=10_000, steps=32, train=300, batch=32, seeds=3),
    # a GPU
    "full": Sizes(texts=512, draws=100_000, steps=64, train=20_000, batch=256, seeds=5),
}


@dataclass(frozen=True)
class Book:
    """A chapter being read: its name, mode, sizes, device and random generator."""

    name: str  # "07" or "appendix_a", with which its files begin
    mode: str
    sizes: Sizes
    device: torch.device
    rng: torch.Generator

    def figure(self, figure: Figure, name: str, alt: str) -> None:
        """Show a figure, described by `alt`; `minildm.book` also writes it to figures/."""
        png = base64.b64encode(picture(figure)).decode()
        width = round(96 * figure.get_figwidth())
        meta = {"alt": alt, "figure": f"{self.name}_{name}", "width": width}
        display({"image/png": png, "text/plain": alt}, metadata={"image/png": meta}, raw=True)

    def results(self, name: str) -> dict:
        """The committed record of a study, for example of ch12_recipe."""
        return results(name)

    def html(self, page: str, text: str) -> None:
        """Show a piece of HTML, or `text` where HTML cannot be shown."""
        display({"text/html": page, "text/plain": text}, raw=True)


def chapter(number: int | str) -> Book:
    """Open a chapter: seed, read MINILDM_MODE, set the plot style, and print one line.

    Args:
        number: Of the chapter, or letter of the appendix.

    Returns:
        A `Book`.

    Raises:
        UserError: When MINILDM_MODE is not fast, laptop or full.
    """
    mode = os.environ.get("MINILDM_MODE", "laptop")
    if mode not in MODES:
        raise UserError(f"MINILDM_MODE is {mode!r}: set it to one of {', '.join(MODES)}")
    title = f"appendix {number}" if isinstance(number, str) else f"chapter {number:02d}"
    seed = ord(number) if isinstance(number, str) else number
    torch.manual_seed(seed)
    style.use()
    print(f"{title}, {mode} mode, seed {seed}, on the CPU")
    name = title.removeprefix("chapter ").replace(" ", "_")
    return Book(name, mode, MODES[mode], torch.device("cpu"), torch.Generator().manual_seed(seed))
