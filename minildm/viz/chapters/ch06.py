"""Chapter 06: straight paths of pairs, which cross, and the marginal flow, which does not."""

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
from ..core.line import STANDARD, cdf, interpolate, line_mixture, middles, plot_paths

DATA = {
    "two narrow modes": line_mixture([0.5, 0.5], [-2.0, 2.0], [0.1, 0.1]),
    "two wide modes": line_mixture([0.5, 0.5], [-2.0, 2.0], [1.0, 1.0]),
    "three modes": line_mixture([0.2, 0.5, 0.3], [-2.0, 0.0, 2.5], [0.2, 0.2, 0.2]),
    "noise itself": STANDARD,
}
BATCHES = (1, 2, 4, 8, 16, 64)  # pairs are the best within a batch; 1 is the independent coupling
REFLOWS = ("none", "once")
MOMENTS = (0.5, 0.0, 0.25, 0.75, 1.0)  # t of the histogram
SHOWN = 16
DRAWS = 2000
CELLS = 256
TIMES = torch.linspace(0, 1, 41, dtype=torch.float64)
LINE = torch.linspace(-6, 6, 241, dtype=torch.float64)  # where densities and fields are computed
FINE = torch.linspace(-8, 8, 8001, dtype=torch.float64)

Energies = tuple[float, float, float]  # conditional, marginal, W_2^2


def columns_at(table: Float[Tensor, "cell n"], place: Float[Tensor, "m n"]) -> Tensor:
    """Each column of a table at places between its rows, linearly.

    Args:
        table: A function of the row in each column.
        place: Rows, which need not be whole numbers.

    Returns:
        Values (m, n), of column j in column j.
    """
    place = place.clamp(0, len(table) - 1)
    low = place.floor().long().clamp(max=len(table) - 2)
    columns = torch.arange(table.shape[1])
    return torch.lerp(table[low, columns], table[low + 1, columns], place - low)


def quantiles(data: Mixture, ranks: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """F^-1: the points of a distribution on the line that have these ranks."""
    return interpolate(ranks, cdf(data, FINE), FINE)


def bernstein(batch: int, p: Float[Tensor, " n"]) -> Float[Tensor, "batch n"]:
    """How likely k of the n - 1 other points of a batch have lower ranks.

    b_k(p) = (n-1 over k) p^k (1-p)^(n-1-k)

    Args:
        batch: n.
        p: Rank of a point.

    Returns:
        b_k for k = 0 .. n - 1.
    """
    p = p.clamp(1e-15, 1 - 1e-15)
    k = torch.arange(batch, dtype=torch.float64)[:, None]
    n = torch.tensor(batch, dtype=torch.float64)
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

    Derived in chapter 06.
    """
    return batch * bernstein(batch, p).T @ bernstein(batch, q)


def masses(mixture: Mixture, stride: int) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Where a distribution has mass on the line, and how much: every stride-th place of FINE."""
    z = FINE[::stride]
    mass = mixture.log_density(z[:, None]).exp() * (z[1] - z[0])
    return z[mass > 1e-12], mass[mass > 1e-12]


@dataclass(frozen=True)
class Flow:
    """The marginal flow of a coupling: density and field at TIMES on LINE, and energies."""

    density: Float[Tensor, "time line"]
    field: Float[Tensor, "time line"]
    energies: Energies


@lru_cache
def flow_of(name: str, batch: int) -> Flow:
    """The marginal flow of straight paths between the best pairs of batches, by quadrature.

    p_t(z) and u(z, t) = E[z_1 - z_0 | z_t = z]

    Args:
        name: A name of DATA.
        batch: Size of a batch.

    Returns:
        A `Flow`.
    """
    data = DATA[name]
    x, mass_x = masses(STANDARD, 40)
    y, mass_y = masses(data, 25)
    rank_x = cdf(STANDARD, x)
    rank_y = cdf(data, y)
    ranks = middles(CELLS)
    by_x = copula(batch, ranks, rank_x)
    by_y = copula(batch, ranks, rank_y)
    densities = []
    fields = []
    for t in TIMES:
        over_data = bool(
            t < 0.5
        )  # then z and the data give the noise; else z and the noise the data
        ends, mass, table, scale = (y, mass_y, by_y, t) if over_data else (x, mass_x, by_x, 1 - t)
        other = STANDARD if over_data else data
        partner = (LINE[:, None] - scale * ends) / (1 - scale)
        found = other.log_density(partner.reshape(-1, 1)).exp().reshape(partner.shape)
        weight = found / (1 - scale) * mass * columns_at(table, cdf(other, partner) * CELLS - 0.5)
        move = ends - partner if over_data else partner - ends
        densities.append(weight.sum(1))
        fields.append((weight * move).sum(1) / densities[-1].clamp(min=1e-30))
    density = torch.stack(densities)
    field = torch.stack(fields)
    power = (density * field**2).sum(1) * (LINE[1] - LINE[0])
    squares = 1 + float(data.log_weights.exp() @ (data.means[:, 0] ** 2 + data.variances))
    paired = float((mass_x * x) @ copula(batch, rank_x, rank_y) @ (mass_y * y))  # E z_0 z_1
    fine = middles(20_000)
    best = float((torch.special.ndtri(fine) * quantiles(data, fine)).mean())
    marginal = float(torch.trapezoid(power, TIMES))
    return Flow(density, field, (squares - 2 * paired, marginal, squares - 2 * best))


@dataclass(frozen=True)
class Matched:
    """What one picture shows: pairs with their straight paths, and the paths of their flow."""

    data: str
    pairs: Float[Tensor, "2 draw"]  # z_0 and z_1; the first SHOWN are drawn as lines
    flow: Float[Tensor, "time shown"]
    moment: float
    density: Float[Tensor, " line"]  # at that moment, on LINE
    energies: Energies
    top: float  # no density on the way is larger

    @property
    def crossings(self) -> tuple[int, int]:
        """How many pairs of lines change their order: of straight paths, and of the flow."""
        return inversions(*self.pairs[:, :SHOWN]), inversions(self.flow[0], self.flow[-1])


def inversions(start: Float[Tensor, " n"], end: Float[Tensor, " n"]) -> int:
    """How many pairs of points swap their order."""
    return int(((start[:, None] < start) & (end[:, None] > end)).sum())


def partners(batch: int, ranks: Float[Tensor, " n"], rng: torch.Generator) -> Tensor:
    """Ranks of data for ranks of noise, drawn from the copula of a batch."""
    cells = torch.multinomial(copula(batch, ranks, middles(CELLS)), 1, generator=rng)[:, 0]
    return (cells + torch.rand(len(ranks), generator=rng, dtype=torch.float64)) / CELLS


def sorted_density(data: Mixture, t: float) -> Float[Tensor, " line"]:
    """The density at time t of straight paths between points of one rank, on LINE."""
    ranks = middles(2000)
    middle = torch.lerp(torch.special.ndtri(ranks), quantiles(data, ranks), t)
    density = interpolate(LINE, (middle[1:] + middle[:-1]) / 2, 1 / 2000 / middle.diff())
    density[(middle[0] > LINE) | (middle[-1] < LINE)] = 0
    return density


def matched(batch: int, reflow: str, time: float, data: str) -> Matched:
    """Pairs of a coupling and their marginal flow.

    Args:
        batch: Of the coupling.
        reflow: A name of REFLOWS: whether to take the ends of the flow as pairs instead.
        time: That the histogram shows.
        data: A name of DATA.

    Returns:
        `Matched`.
    """
    rng = torch.Generator().manual_seed(29)
    mixture = DATA[data]
    levels = middles(SHOWN)
    p = torch.cat((levels, middles(DRAWS)[torch.randperm(DRAWS, generator=rng)]))
    q = p if reflow == "once" else partners(batch, p, rng)
    z0 = torch.special.ndtri(p)
    z1 = quantiles(mixture, q)
    made = flow_of(data, batch)
    top = max(0.6, float(mixture.log_density(LINE[:, None]).exp().max()))
    if reflow == "once":
        paths = torch.lerp(z0[:SHOWN], z1[:SHOWN], TIMES[:, None])
        density = sorted_density(mixture, time)
        least = made.energies[2]
        energies = least, least, least
    else:  # on the line a flow keeps ranks, so its paths are curves of equal rank
        mass = made.density.cumsum(1)
        paths = torch.stack([interpolate(levels, row / row[-1], LINE) for row in mass])
        density = made.density[round(time * (len(TIMES) - 1))]
        energies = made.energies
    return Matched(data, torch.stack((z0, z1)), paths, time, density, energies, top)


def draw(shown: Matched) -> Figure:
    """Straight paths of pairs, paths of the flow, the density at one time, and three energies."""
    figure, axes = panels(4, height=2.3, width_ratios=(1, 1, 0.6, 0.55))
    z0, z1 = shown.pairs
    straight = torch.lerp(z0[:SHOWN], z1[:SHOWN], TIMES[:, None])
    names = ("pairs", "flow")
    for axis, paths, name, crossings in zip(axes, (straight, shown.flow), names, shown.crossings):
        up = paths[-1] > 0
        plot_paths(axis, TIMES, paths[:, ~up], color=style.NOISE, lw=0.7)
        plot_paths(axis, TIMES, paths[:, up], color=style.DATA, lw=0.7)
        axis.axvline(shown.moment, color=style.VALUE, lw=1)
        axis.set(xlabel="time t", ylim=(-4, 4), title=f"{name}: {crossings} crossings")
    *_, here, bars = axes
    axes[0].set_ylabel("state z")
    cloud = torch.lerp(z0, z1, shown.moment)
    heights, edges = torch.histogram(cloud, 48, range=(-4.0, 4.0), density=True)
    here.stairs(heights, edges, orientation="horizontal", fill=True, color=style.GRID)
    here.plot(shown.density, LINE, color=style.VALUE, lw=1.3)
    here.set(
        xlabel="density", title=f"t = {shown.moment:g}", xlim=(0, 1.15 * shown.top), ylim=(-4, 4)
    )
    here.tick_params(labelleft=False)
    colors = (style.NOISE, style.CONTROL, style.DATA)
    bars.bar((*names, "best"), shown.energies, color=colors, width=0.7)
    for place, value in enumerate(shown.energies):
        bars.text(place, value + 0.05, f"{value:.2f}", ha="center", fontsize=7)
    bars.set(title="energy", ylim=(0, 6.6))
    bars.tick_params(axis="x", labelsize=7)
    return figure


def explorer() -> Explorer:
    """The explorer of chapter 06: knobs `batch`, `reflow`, `time` and `data`."""
    return Explorer(
        matched,
        draw,
        {"batch": BATCHES, "reflow": REFLOWS, "time": MOMENTS, "data": tuple(DATA)},
        "From left to right: straight paths from noise to data by pairs, with the number of "
        "crossings; paths of their marginal flow, which do not cross; the density at one time; "
        "three energies as bars.",
        between=("batch", "time"),
    )
