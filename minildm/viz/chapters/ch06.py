"""Trajectories by coupling on the line: straight paths of pairs, which cross, and the flow of their
mean, which does not.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ...control.bridges import Mixture
from ..core import style
from ..core.figures import panels
from ..core.knobs import Explorer
from .ch04 import START, round_mixture

LAWS = {
    "two narrow modes": round_mixture([0.5, 0.5], [-2.0, 2.0], 0.1),
    "two wide modes": round_mixture([0.5, 0.5], [-2.0, 2.0], 1.0),
    "three modes": round_mixture([0.2, 0.5, 0.3], [-2.0, 0.0, 2.5], 0.2),
    "noise itself": round_mixture([1.0], [0.0], 1.0),
}
BATCHES = (
    1,
    2,
    4,
    8,
    16,
    64,
)  # pairs are the best within a batch of this size; 1 is the independent coupling
REFLOWS = ("none", "once")
MOMENTS = (0.5, 0.0, 0.25, 0.75, 1.0)  # t of the histogram
SHOWN, DRAWS, CELLS = 16, 2000, 256
TIMES = torch.linspace(0, 1, 41, dtype=torch.float64)
LINE = torch.linspace(-6, 6, 241, dtype=torch.float64)  # where densities and fields are computed
FINE = torch.linspace(-8, 8, 8001, dtype=torch.float64)


def shares(count: int) -> Float[Tensor, " count"]:
    """The middles of equal parts of [0, 1]: ranks of points of one law."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def below(law: Mixture, z: Tensor) -> Tensor:
    """F(z), the share of a law on the line that lies below z."""
    return (
        torch.special.ndtr((z[..., None] - law.means[:, 0]) / law.variances.sqrt())
        @ law.log_weights.exp()
    )


def between(table: Float[Tensor, "cell ..."], place: Tensor) -> Tensor:
    """Rows of a table at places that are not whole numbers; column j of the answer is of column j,
    linear in between.
    """
    place = place.clamp(0, len(table) - 1)
    low, columns = place.floor().long().clamp(max=len(table) - 2), torch.arange(table.shape[1])
    share = place - low
    return (1 - share) * table[low, columns] + share * table[low + 1, columns]


def look_up(
    x: Float[Tensor, " n"], rising: Float[Tensor, " cell"], values: Float[Tensor, " cell"]
) -> Float[Tensor, " n"]:
    """The piecewise linear function with these values at these rising places."""
    high = torch.searchsorted(rising, x).clamp(1, len(rising) - 1)
    share = (x - rising[high - 1]) / (rising[high] - rising[high - 1]).clamp(min=1e-300)
    return torch.lerp(values[high - 1], values[high], share.clamp(0, 1))


def quantiles(law: Mixture, ranks: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """F^-1: the points of a law on the line that have these ranks."""
    return look_up(ranks, below(law, FINE), FINE)


def bernstein(batch: int, p: Float[Tensor, " n"]) -> Float[Tensor, "batch n"]:
    """b_k(p) = (n-1 over k) p^k (1-p)^(n-1-k): how likely k of the n - 1 other points of a batch
    have lower ranks.
    """
    p, k, n = (
        p.clamp(1e-15, 1 - 1e-15),
        torch.arange(batch, dtype=torch.float64)[:, None],
        torch.tensor(batch).double(),
    )
    log_choose = torch.lgamma(n) - torch.lgamma(k + 1) - torch.lgamma(n - k)
    return (log_choose + k * p.log() + (n - 1 - k) * torch.log1p(-p)).exp()


def copula(batch: int, p: Float[Tensor, " n"], q: Float[Tensor, " m"]) -> Float[Tensor, "n m"]:
    """Which ranks meet when batches of n are sorted: the density c(p, q) = n sum_k b_k(p) b_k(q).

    Args:
        batch: n, where 1 makes c = 1.
        p: Ranks of noise.
        q: Ranks of data.

    Returns:
        c (n, m).
    """
    return batch * bernstein(batch, p).T @ bernstein(batch, q)


def masses(law: Mixture, stride: int) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Places on the line where a law has mass, and how much: every stride-th of FINE."""
    z = FINE[::stride]
    mass = law.log_density(z[:, None]).exp() * (z[1] - z[0])
    return z[mass > 1e-12], mass[mass > 1e-12]


@dataclass(frozen=True)
class Flow:
    """The mean field of a coupling: the law at each of TIMES on LINE, the field there, and three
    energies.
    """

    density: Float[Tensor, "time line"]
    field: Float[Tensor, "time line"]
    energies: tuple[float, float, float]  # conditional, marginal, W_2^2


@lru_cache
def flow_of(data: str, batch: int) -> Flow:
    """p_t(z) and u(z, t) = E[z_1 - z_0 | z_t = z] of straight paths between the best pairs of batches, by quadrature.

    Args: `data`, a name of LAWS; `batch`. Returns a `Flow`.
    """
    law, laws, fields = LAWS[data], [], []
    (x, mass_x), (y, mass_y) = masses(START, 40), masses(law, 25)
    rank_x, rank_y, ranks = below(START, x), below(law, y), shares(CELLS)
    by_x, by_y = copula(batch, ranks, rank_x), copula(batch, ranks, rank_y)
    for t in TIMES:
        if t < 0.5:  # over data y; the noise that passes z at t is then known
            ends, other, side, mass, table, scale = y, START, 1 - t, mass_y, by_y, t
        else:  # over noise x
            ends, other, side, mass, table, scale = x, law, t, mass_x, by_x, 1 - t
        partner = (LINE[:, None] - scale * ends) / side
        weight = (
            other.log_density(partner.reshape(-1, 1)).exp().reshape(partner.shape) / side * mass
        )
        weight = weight * between(table, below(other, partner) * CELLS - 0.5)
        laws.append(weight.sum(1))
        move = (ends - partner) if t < 0.5 else (partner - ends)
        fields.append((weight * move).sum(1) / laws[-1].clamp(min=1e-30))
    density, field = torch.stack(laws), torch.stack(fields)
    power = (density * field**2).sum(1) * (LINE[1] - LINE[0])
    size, middles = (
        1 + float(law.log_weights.exp() @ (law.means[:, 0] ** 2 + law.variances)),
        shares(20_000),
    )
    together = float((mass_x * x) @ copula(batch, rank_x, rank_y) @ (mass_y * y))  # E z_0 z_1
    best = size - 2 * float((torch.special.ndtri(middles) * quantiles(law, middles)).mean())
    return Flow(density, field, (size - 2 * together, float(torch.trapezoid(power, TIMES)), best))


@dataclass(frozen=True)
class Matched:
    """What one picture shows: pairs and their straight paths, the paths of the flow, one moment,
    and the energies.
    """

    data: str
    pairs: Float[Tensor, "2 draw"]  # z_0 and z_1; the first SHOWN are drawn as lines
    flow: Float[Tensor, "time shown"]
    moment: float
    density: Float[Tensor, " line"]  # at that moment, on LINE
    energies: tuple[float, float, float]
    top: float  # no density on the way is larger

    @property
    def crossings(self) -> tuple[int, int]:
        """How many pairs of lines change their order on the way: of straight paths, and of the
        flow.
        """
        return inversions(*self.pairs[:, :SHOWN]), inversions(self.flow[0], self.flow[-1])


def inversions(start: Float[Tensor, " n"], end: Float[Tensor, " n"]) -> int:
    """How many pairs of points swap their order."""
    return int(((start[:, None] < start) & (end[:, None] > end)).sum())


def matched(batch: int, reflow: str, time: float, data: str) -> Matched:
    """Pairs of a coupling and the flow of their mean.

    Args:
        batch: Of the coupling.
        reflow: A name of REFLOWS: take the ends of the flow as pairs instead.
        time: That the histogram shows.
        data: A name of LAWS.

    Returns:
        `Matched`.
    """
    rng, law, levels = torch.Generator().manual_seed(29), LAWS[data], shares(SHOWN)
    order, k = torch.randperm(DRAWS, generator=rng), round(time * (len(TIMES) - 1))
    p = torch.cat((levels, shares(DRAWS)[order]))
    q = p
    if reflow == "none":
        rows = copula(batch, p, shares(CELLS))
        cells = torch.multinomial(rows, 1, generator=rng)[:, 0]
        q = (cells + torch.rand(len(p), generator=rng, dtype=torch.float64)) / CELLS
    made, z0, z1 = flow_of(data, batch), torch.special.ndtri(p), quantiles(law, q)
    top = max(0.6, float(law.log_density(LINE[:, None]).exp().max()))
    if reflow == "none":  # on the line a flow keeps ranks, so its paths are curves of equal rank
        mass = made.density.cumsum(1)
        paths = torch.stack([look_up(levels, row / row[-1], LINE) for row in mass])
        return Matched(
            data, torch.stack((z0, z1)), paths, time, made.density[k], made.energies, top
        )
    x, y = torch.special.ndtri(shares(2000)), quantiles(law, shares(2000))
    middle = (1 - time) * x + time * y
    density = look_up(LINE, (middle[1:] + middle[:-1]) / 2, 1 / 2000 / middle.diff())
    density[(middle[0] > LINE) | (middle[-1] < LINE)] = 0
    lines = torch.lerp(z0[:SHOWN], z1[:SHOWN], TIMES[:, None])
    return Matched(data, torch.stack((z0, z1)), lines, time, density, made.energies[2:] * 3, top)


def draw(shown: Matched) -> Figure:
    """Straight paths of pairs, paths of the flow, the law at one time, and the three energies."""
    figure, axes = panels(4, height=2.3, width_ratios=(1, 1, 0.6, 0.55))
    z0, z1 = shown.pairs
    straight = torch.lerp(z0[:SHOWN], z1[:SHOWN], TIMES[:, None])
    gap = torch.full((SHOWN, 1), torch.nan)  # one line with gaps is drawn faster than many lines
    for axis, paths, name, crossings in zip(
        axes, (straight, shown.flow), ("pairs", "flow"), shown.crossings
    ):
        for up, color in ((False, style.NOISE), (True, style.DATA)):
            some = torch.cat((paths.T, gap), dim=1)[(paths[-1] > 0) == up]
            axis.plot(
                torch.cat((TIMES, gap[0])).repeat(len(some)), some.flatten(), color=color, lw=0.7
            )
        axis.axvline(shown.moment, color=style.VALUE, lw=1)
        axis.set(xlabel="time t", ylim=(-4, 4), title=f"{name}: {crossings} crossings")
    axes[0].set_ylabel("state z")
    heights, edges = torch.histogram(
        torch.lerp(z0, z1, shown.moment), 48, range=(-4.0, 4.0), density=True
    )
    axes[2].stairs(heights, edges, orientation="horizontal", fill=True, color=style.GRID)
    axes[2].plot(shown.density, LINE, color=style.VALUE, lw=1.3)
    axes[2].set(
        xlabel="density", xlim=(0, 1.15 * shown.top), ylim=(-4, 4), title=f"law at {shown.moment:g}"
    )
    axes[2].tick_params(labelleft=False)
    colors = (style.NOISE, style.CONTROL, style.DATA)
    axes[3].bar(("pairs", "flow", "best"), shown.energies, color=colors, width=0.7)
    for place, value in enumerate(shown.energies):
        axes[3].text(place, value + 0.05, f"{value:.2f}", ha="center", fontsize=7)
    axes[3].set(title="energy", ylim=(0, 6.6))
    axes[3].tick_params(axis="x", labelsize=7)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 06."""
    return Explorer(
        matched,
        draw,
        {"batch": BATCHES, "reflow": REFLOWS, "time": MOMENTS, "data": tuple(LAWS)},
        "From left to right: straight paths from noise to data by pairs, with the number of crossings; paths of "
        "the flow of their mean, which do not cross; the law at one time; three energies as bars.",
        between=("batch", "time"),
    )
