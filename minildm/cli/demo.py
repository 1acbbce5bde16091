"""`minildm demo`: tales by every shipped model, a table of quality and speed, and a figure."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from ..api.limits import device
from ..api.measuring import PATIENCE
from ..dynamics.records import Trajectory
from ..errors import UserError, write_atomically
from ..evaluation.scorecard import latency, validity
from ..models.base import Generation
from ..pretrained import Loaded, load, names
from ..sampling import Sampler
from ..text.tokenizers import Tokenizer, body
from ..tokens import NUM_SPECIALS
from ..viz.core import style
from ..viz.core.figures import picture
from .parsing import parse_flags
from .writing import check_file, confidence, shaded

HEADINGS = ("model", "grammatical", "consistent", "NFE", "latency of one", "tokens/s")
FRAMES = 7  # times of the figure
LINE = 96  # characters of a line in the figure
OTHERS = ("-cpu", "-matched")  # endings of the names of smaller models of a type


@dataclass(frozen=True)
class DemoFlags:
    """Write tales with every language model of the zoo, print them with a table, draw a figure."""

    count: int = 64  # tales a model
    show: int = 2  # of them printed
    seed: int = 0  # of all randomness
    figure: Path = Path("figures/demo.png")  # where the figure goes


@dataclass
class Shown:
    """One model's part of the demo."""

    name: str
    tokenizer: Tokenizer
    written: Generation
    sure: Float[Tensor, "batch length"]
    cells: tuple[str, ...]


def perform(name: str, loaded: Loaded, flags: DemoFlags) -> Shown:
    """Let one model write, and judge what it wrote."""
    model = loaded.model.to(device())
    sampler = Sampler(model)

    def write(count: int, rng: torch.Generator) -> Generation:
        return sampler(count, rng=rng)

    write(1, torch.Generator(device()).manual_seed(0))  # the first one is slower than all others
    rng = torch.Generator(device()).manual_seed(flags.seed)
    written = sampler(flags.count, rng=rng, record=not model.causal)
    rows = written.tokens.tolist()
    scores = validity([loaded.tokenizer.decode(row) for row in rows])
    speed = sum(len(body(row)) for row in rows) / written.seconds
    alone = latency(write, device())
    cells = (
        name,
        f"{scores['grammatical']:.0%}",
        f"{scores['consistent']:.0%}",
        str(written.nfe),
        f"{1000 * alone:.0f} ms",
        f"{speed:.0f}",
    )
    return Shown(name, loaded.tokenizer, written, confidence(model, written), cells)


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows of cells in aligned columns."""
    first, *others = (max(map(len, column)) for column in zip(*rows))
    lines = []
    for name, *cells in rows:
        right = (cell.rjust(size) for cell, size in zip(cells, others))
        lines.append("  ".join((name.ljust(first), *right)))
    return "\n".join(lines)


def draw_text(
    ax: Axes,
    y: float,
    tokenizer: Tokenizer,
    row: Int[Tensor, " length"],
    sure: Float[Tensor, " length"],
) -> float:
    """A text from height y downwards, blue where the model is sure; returns the next height."""
    x = 0
    for i, c in zip(row.tolist(), sure.tolist()):
        if i < NUM_SPECIALS:
            continue
        word = tokenizer.piece(i)
        if x + len(word) > LINE:
            x = 0
            y -= 1
        ax.text(x, y, word, color=style.TIME(c), family="DejaVu Sans Mono", fontsize=9, va="top")
        x += len(word) + 1
    return y - 1.5


def moments(path: Trajectory) -> list[int]:
    """Indices of the times that the figure shows: evenly spread, start and end among them."""
    spread = torch.linspace(0, len(path.times) - 1, min(FRAMES, len(path.times)))
    return sorted({round(i) for i in spread.tolist()})


def draw_tale(ax: Axes, y: float, part: Shown) -> float:
    """One tale of a model, on its way from noise to text if that was recorded, from height y."""
    path = part.written.trajectory
    title = f"{part.name}: one tale"
    if path:
        title += " on its way from noise (t = 0) to text (t = 1)"
    legend = "color: probability of the token, from 0 (gray) to 1 (blue)"
    ax.text(-9, y, title, fontsize=10, weight="bold", color=style.INK, va="top")
    ax.text(-9, y - 1.3, legend, fontsize=8, color=style.NOISE, va="top")
    y -= 3.2
    if path is None or path.tokens is None or path.confidence is None:
        return draw_text(ax, y, part.tokenizer, part.written.tokens[0], part.sure[0])
    for k in moments(path):
        time = f"t = {float(path.times[k]):.2f}"
        ax.text(-9, y, time, fontsize=8, color=style.NOISE, va="top")
        y = draw_text(ax, y, part.tokenizer, path.tokens[k, 0], path.confidence[k, 0])
    return y - 0.7


def draw_table(ax: Axes, y: float, parts: list[Shown]) -> float:
    """The table of all models from height y downwards; returns the height of its last row."""
    places = [-9, 30, 46, 58, 78, LINE]
    for row in (HEADINGS, *(part.cells for part in parts)):
        y -= 1.4
        weight = "bold" if row is HEADINGS else "normal"
        for x, cell in zip(places, row):
            side = "left" if x < 0 else "right"
            ax.text(x, y, cell, fontsize=8, weight=weight, color=style.INK, va="top", ha=side)
    return y


def draw(parts: list[Shown]) -> Figure:
    """Tales on their way from noise to text, above the table of all models."""
    style.use()
    figure = Figure(figsize=(8.4, 6.2))
    ax = figure.add_subplot()
    ax.set_axis_off()
    ax.set_xlim(-9, LINE)
    recorded = [part for part in parts if part.written.trajectory is not None]
    y = 0.0
    for part in recorded or parts:
        y = draw_tale(ax, y, part)
    y = draw_table(ax, y, parts)
    ax.set_ylim(y - 1.2, 0.5)
    figure.set_size_inches(8.4, 0.2 * (1.7 - y))
    return figure


def main(argv: list[str]) -> None:
    """Load, write, print, draw."""
    flags = parse_flags(DemoFlags, argv, "minildm demo")
    if flags.count < 1:
        raise UserError(f"cannot write {flags.count} tales: ask for at least 1")
    check_file(flags.figure)
    shown = [name for name in names() if not name.endswith(OTHERS)]
    models = {name: load(name, frozen=False) for name in shown}
    writers = [pair for pair in models.items() if pair[1].model.capabilities.writes]
    if not writers:
        raise UserError(
            "the zoo has no language model: reinstall, or train one with "
            "`minildm train gpt --preset gpt-cpu`"
        )
    parts = []
    for name, loaded in tqdm(writers, desc="models", delay=PATIENCE, leave=False, disable=None):
        part = perform(name, loaded, flags)
        tqdm.write(f"\n{part.name}")
        for row, sure in list(zip(part.written.tokens.tolist(), part.sure.tolist()))[: flags.show]:
            terminal = sys.stdout.isatty()
            text = shaded(part.tokenizer, row, sure) if terminal else part.tokenizer.decode(row)
            tqdm.write(f"  {text}")
        parts.append(part)
    print(f"\n{table([HEADINGS, *(part.cells for part in parts)])}\n")
    write_atomically(flags.figure, lambda beside: beside.write_bytes(picture(draw(parts))))
    print(f"figure: {flags.figure}")
