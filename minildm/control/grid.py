"""Value iteration on a grid: Bellman's principle, backwards in time, for any system of one or two
numbers.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from .feedback import Law
from .systems import System


@dataclass(frozen=True)
class Grid:
    """Evenly spaced states in a box, in one dimension or two."""

    low: tuple[float, ...]  # lower corner of the box
    high: tuple[float, ...]  # upper corner
    count: tuple[int, ...]  # points along each axis
    circles: tuple[
        int, ...
    ] = ()  # axes whose ends are one place, as angles: `high` itself is then not repeated

    @property
    def spacing(self) -> list[float]:
        gaps = [n - (i not in self.circles) for i, n in enumerate(self.count)]
        return [(high - low) / gap for low, high, gap in zip(self.low, self.high, gaps)]

    def axes(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """The coordinates along each axis."""
        return [
            low + gap * torch.arange(n, dtype=dtype)
            for low, gap, n in zip(self.low, self.spacing, self.count)
        ]

    def points(self, dtype: torch.dtype = torch.float64) -> Float[Tensor, "point state"]:
        """All states, the last coordinate running fastest."""
        return torch.cartesian_prod(*self.axes(dtype)).reshape(-1, len(self.count))

    def places(self, z: Float[Tensor, "... state"]) -> Float[Tensor, "... two"]:
        """Where states lie in the box, as `read` wants it: in [-1, 1], last coordinate first."""
        low, high = (
            torch.as_tensor(corner, dtype=z.dtype, device=z.device)
            for corner in (self.low, self.high)
        )
        part = (z - low) / (high - low)
        for axis in self.circles:
            part[..., axis] %= 1
        return F.pad(2 * part.flip(-1) - 1, (0, 2 - len(self.count)))

    def read(
        self, values: Float[Tensor, "*count"], places: Float[Tensor, "row column two"]
    ) -> Float[Tensor, "row column"]:
        """The table `values` between its points, (bi)linearly; outside the box, its value at the
        nearest edge.

        Args:
            values: One number a grid point.
            places: From `Grid.places`.

        Returns:
            The numbers there.
        """
        for axis in self.circles:
            values = torch.cat((values, values.narrow(axis, 0, 1)), dim=axis)
        image = values.reshape(1, 1, -1, values.shape[-1])
        return F.grid_sample(image, places[None], "bilinear", "border", align_corners=True)[0, 0]


@dataclass
class CostToGo:
    """V on a grid at all times, and what is read off it: values (time, *count)."""

    grid: Grid
    times: Float[Tensor, " time"]
    values: Float[Tensor, "time ..."]

    def index(self, t: Tensor) -> int:
        """The number of the last time that is not after t, and not the end."""
        return min(
            max(int(torch.searchsorted(self.times, t.to(self.times), right=True)) - 1, 0),
            len(self.times) - 2,
        )

    def read(
        self, tables: Float[Tensor, "time ..."], z: Float[Tensor, "batch state"], t: Tensor
    ) -> Float[Tensor, " batch"]:
        """One number a grid point and time, linearly between points and between times."""
        k, places = self.index(t), self.grid.places(z)[None]
        before, after = (self.grid.read(table, places)[0] for table in tables[k : k + 2])
        return before + (t - self.times[k]) / (self.times[k + 1] - self.times[k]) * (after - before)

    def value(self, z: Float[Tensor, "batch state"], t: Tensor) -> Float[Tensor, " batch"]:
        """V(z, t) between grid points and times.

        Args:
            z: (batch, state).
            t: Scalar.

        Returns:
            (batch,).
        """
        return self.read(self.values, z, t)

    def costate(self, z: Float[Tensor, "batch state"], t: Tensor) -> Float[Tensor, "batch state"]:
        """p = grad V(z, t), by central differences between grid points; where a circle closes, by
        one-sided ones.

        Args:
            z: (batch, state).
            t: Scalar.

        Returns:
            (batch, state).
        """
        k = self.index(t)
        steps = torch.gradient(
            self.values[k : k + 2], spacing=self.grid.spacing, dim=list(range(1, self.values.ndim))
        )
        near = CostToGo(self.grid, self.times[k : k + 2], self.values[k : k + 2])
        return torch.stack([near.read(table, z, t) for table in steps], dim=-1)


def moves(
    system: System,
    z: Float[Tensor, "batch state"],
    controls: Float[Tensor, "choice control"],
    t: Tensor,
    h: Tensor,
) -> tuple[Float[Tensor, "choice batch state"], Float[Tensor, "choice batch"]]:
    """Every control tried from every state for a time h: where it leads, z + h f(z, u, t), and its
    price h l(z, u, t).

    Args:
        system: The controlled system.
        z: (batch, state).
        controls: (choice, control).
        t, h: Scalars.

    Returns:
        Arrivals (choice, batch, state) and prices (choice, batch).
    """
    states, u = z.repeat(len(controls), 1), controls.repeat_interleave(len(z), dim=0)
    arrivals = states + h * system.plant(states, u, t)
    return arrivals.reshape(len(controls), *z.shape), (h * system.running(states, u, t)).reshape(
        len(controls), len(z)
    )


def noise(grid: Grid, variance: float, like: Tensor) -> list[Float[Tensor, "to from"]]:
    """For each axis the matrix that takes the mean of V over the noise of one step, E V(z +
    sqrt(variance) xi).

    Its noise is a sum of n coin tosses that go one cell left, one right, or nowhere; n is so large
    that half of them or more go nowhere, and the variance is exact away from the edges, where
    tosses that would leave the box stay.

    Args:
        grid: The grid.
        variance: Of each coordinate.
        like: A tensor of the wanted type.

    Returns:
        A matrix an axis; rows sum to 1.

    Source: Kushner.
    """
    matrices = []
    for axis, (gap, n) in enumerate(zip(grid.spacing, grid.count)):
        tosses = max(1, math.ceil(2 * variance / gap**2))
        stay, cells = torch.eye(n).to(like), torch.arange(n)
        near = [cells + 1, cells - 1]
        near = [i % n if axis in grid.circles else i.clamp(0, n - 1) for i in near]
        toss = torch.lerp(stay, (stay[near[0]] + stay[near[1]]) / 2, variance / (tosses * gap**2))
        matrices.append(torch.linalg.matrix_power(toss, tosses))
    return matrices


def solve(
    system: System,
    grid: Grid,
    controls: Float[Tensor, "choice control"],
    times: Float[Tensor, " time"],
    g: float = 0.0,
    steady: bool = True,
) -> CostToGo:
    """Bellman's principle backwards in time on a grid, the semi-Lagrangian scheme for the HJB
    equation.

    V(z, t) = min_u { h l(z, u, t) + E V(z + h f(z, u, t) + g sqrt(h) xi, t + h) },  V(z, 1) =
    Phi(z)
    Its error is of order h + dx min(1, dx / h) + du^2: refine spacing and step together. A move
    that leaves the box is charged what the nearest point of the box costs, so trust V only where
    good paths stay inside.

    Args:
        system: The controlled system.
        grid: The grid.
        controls: (choice, control) to choose from, whose dtype is that of the solution.
        times: (time,), increasing by equal steps h.
        g: >= 0, noise.
        steady: : neither f nor l depends on t, so moves are computed once.

    Returns:
        A `CostToGo`.

    Raises:
        UserError: On unequal steps.

    Derived in chapter 02. Source: Falcone.
    """
    times = times.to(controls.dtype)
    h = (times[-1] - times[0]) / (len(times) - 1)
    if not torch.allclose(times.diff(), h, rtol=1e-3):
        raise UserError("the grid solver takes equal steps: give it times made by torch.linspace")
    points, places = grid.points(controls.dtype), None
    matrices = noise(grid, g**2 * float(h), points) if g else []
    tables = [system.terminal(points).reshape(grid.count)]
    for t in times[:-1].flip(0):
        if places is None or not steady:
            arrivals, prices = moves(system, points, controls, t, h)
            places = grid.places(arrivals)
        later = tables[-1]
        for axis, matrix in enumerate(matrices):
            later = torch.tensordot(matrix, later, dims=([1], [axis])).movedim(0, axis)
        tables.append(grid.read(later, places).add_(prices).amin(0).reshape(grid.count))
    return CostToGo(grid, times, torch.stack(tables[::-1]))


def greedy(system: System, ahead: CostToGo, controls: Float[Tensor, "choice control"]) -> Law:
    """The feedback law that looks one step ahead: arg min_u { h l(z, u, t) + V(z + h f(z, u, t), t
    + h) }.

    Args:
        system: The controlled system.
        ahead: Its cost-to-go.
        controls: (choice, control) to choose from.

    Returns:
        A `Law`.
    """

    def law(z: Tensor, t: Tensor) -> Tensor:
        k = ahead.index(t)
        arrivals, prices = moves(system, z, controls, t, ahead.times[k + 1] - ahead.times[k])
        later = ahead.grid.read(ahead.values[k + 1], ahead.grid.places(arrivals))
        return controls[(later + prices).argmin(0)]

    return law
