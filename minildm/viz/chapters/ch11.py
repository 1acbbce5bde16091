"""Chapter 11: kernels of attention as maps, by block, head and time, while noise becomes a text."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...errors import UserError
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer

# rows sum to one: what position i takes from position j
Kernels = Float[Tensor, "block time head n n"]


@dataclass(frozen=True)
class Shown:
    """What one picture shows: a kernel, and two numbers of its rows over all times."""

    kernel: Float[Tensor, "words n"]
    count: Float[Tensor, " time"]  # how many words a row uses
    reach: Float[Tensor, " time"]  # how far away they are
    times: Float[Tensor, " time"]
    chosen: int
    words: tuple[str, ...]


def effective_count(kernels: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch"]:
    """How many words a row uses, e^entropy, as the mean over rows.

    It is 1 for a row that copies one word, and n for a uniform row.

    Args:
        kernels: (..., m, n), rows that sum to one.

    Returns:
        (...,).
    """
    return (-torch.special.xlogy(kernels, kernels).sum(-1)).exp().mean(-1)


def mean_reach(kernels: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch"]:
    """How far away the words are that a row uses, sum_j K_ij |i - j|, as the mean over rows.

    Args:
        kernels: (..., m, n), the rows of the first m positions, each summing to one.

    Returns:
        (...,), in words.
    """
    rows, columns = (torch.arange(size, dtype=kernels.dtype) for size in kernels.shape[-2:])
    return (kernels * (rows[:, None] - columns).abs()).sum(-1).mean(-1)


def show(
    kernels: Kernels,
    times: Sequence[float],
    words: Sequence[str],
    block: int,
    head: int,
    time: float,
) -> Shown:
    """One kernel of one head, and its two numbers over time.

    Args:
        kernels: Of any model.
        times: At which they were taken.
        words: At the first positions, the others being padding.
        block: Counted from 1.
        head: Counted from 1.
        time: Of which the nearest of `times` is taken.

    Returns:
        A `Shown`, its numbers over the rows of words.

    Raises:
        UserError: When the shapes or the choices do not fit.
    """
    blocks, moments, heads, n = kernels.shape[:4]
    if len(times) != moments or not 0 < len(words) <= n:
        raise UserError(
            f"the kernels have {moments} times and {n} positions, but {len(times)} times and "
            f"{len(words)} words were given: give a number for each time, and words for some "
            "positions"
        )
    if not (1 <= block <= blocks and 1 <= head <= heads):
        raise UserError(
            f"there is no head {head} of block {block}: choose 1 to {heads} of 1 to {blocks}"
        )
    rows = kernels[block - 1, :, head - 1, : len(words)]
    at = torch.tensor(times)
    chosen = int((at - time).abs().argmin())
    count = effective_count(rows)
    return Shown(rows[chosen], count, mean_reach(rows), at, chosen, tuple(words))


def draw(shown: Shown) -> Figure:
    """The kernel with the words at its rows, and the two numbers over time."""
    figure, (left, right) = panels(2, height=3.5)
    left.get_gridspec().set_width_ratios((1.5, 1))
    words, n = shown.kernel.shape
    left.imshow(
        shown.kernel.sqrt().numpy(),
        cmap="Blues",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        aspect="auto",
    )
    left.set_yticks(range(words), shown.words, fontsize=5)
    left.tick_params(axis="y", length=0, pad=1)
    now = shown.times[shown.chosen]
    left.set(xlabel="position attended to", title=f"attention, t = {float(now):.2f}")
    left.grid(False)
    if words < n:
        left.axvline(words - 0.5, color=style.NOISE, lw=0.8)
    for values, color, label in (
        (shown.count, style.CONTROL, "words in use"),
        (shown.reach, style.VALUE, "their mean distance"),
    ):
        right.plot(shown.times, values, color=color, label=label)
        right.plot(now, values[shown.chosen], "o", color=color, ms=7)
    top = float(torch.cat((shown.count, shown.reach)).max())
    right.set(xlabel="time t", ylabel="words", ylim=(0, 1.25 * top), title="over time")
    right.legend(loc="upper right")
    return figure


def explorer(kernels: Kernels, times: Sequence[float], words: Sequence[str]) -> Explorer:
    """The explorer of chapter 11: knobs `block`, `head` and `time`, for a model on one text.

    Args:
        kernels: Of the model.
        times: At which they were taken.
        words: At the first positions.

    Returns:
        An `Explorer`.
    """

    def state(block: int, head: int, time: float) -> Shown:
        return show(kernels, times, words, block, head, time)

    knobs = {
        "block": tuple(range(1, kernels.shape[0] + 1)),
        "head": tuple(range(1, kernels.shape[2] + 1)),
        "time": tuple(times),
    }
    return Explorer(
        state,
        draw,
        knobs,
        "Left, a square map of which position attends to which, dark where a word takes much; "
        "right, how many words a row uses and how far away they are, against time.",
    )
