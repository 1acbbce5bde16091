"""Value iteration on a grid, for any system whose state is one number or two."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from .feedback import Policy
from .systems import System


@dataclass(frozen=True)
class Grid:
    """Evenly spaced states in a box, in one dimension or two."""

    low: tuple[float, ...]  # lower corner of the box
    high: tuple[float, ...]  # upper corner
    count: tuple[int, ...]  # points along each axis
    circles: tuple[
        int, ...
    ] = ()  # axes, as of angles, whose ends are one place: `high` is left out

    @property
    def spacing(self) -> list[float]:
        gaps = [n - (i not in self.circles) for i, n in enumerate(self.count)]
        return [(high - low) / gap for low, high, gap in zip(self.low, self.high, gaps)]

    def axes(self, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """The coordinates along each axis."""
        each = zip(self.low, self.spacing, self.count)
        return [low + gap * torch.arange(n, dtype=dtype) for low, gap, n in each]

    def points(self, dtype: torch.dtype = torch.float64) -> Float[Tensor, "point state"]:
        """All states, the last coordinate running fastest."""
        return torch.cartesian_prod(*self.axes(dtype)).reshape(-1, len(self.count))

    def places(self, z: Float[Tensor, "... state"]) -> Float[Tensor, "... two"]:
        """Where states lie in the box, for `interpolate`: in [-1, 1], the last coordinate first."""
        low = torch.as_tensor(self.low, dtype=z.dtype, device=z.device)
        high = torch.as_tensor(self.high, dtype=z.dtype, device=z.device)
        part = (z - low) / (high - low)
        for axis in self.circles:
            part[..., axis] %= 1
        return F.pad(2 * part.flip(-1) - 1, (0, 2 - len(self.count)))

    def interpolate(
        self, values: Float[Tensor, "*count"], places: Float[Tensor, "row column two"]
    ) -> Float[Tensor, "row column"]:
        """A table between its points, (bi)linearly; outside the box, its value at the nearest edge.

        Args:
            values: One number for each grid point.
            places: Where to interpolate, from `Grid.places`.

        Returns:
            The numbers there.
        """
        for axis in self.circles:
            values = torch.cat((values, values.narrow(axis, 0, 1)), dim=axis)
        image = values.reshape(1, 1, -1, values.shape[-1])
        return F.grid_sample(image, places[None], "bilinear", "border", align_corners=True)[0, 0]


@dataclass
class CostToGo:
    """The cost-to-go V on a grid at all times, (time, *count), and its values in between."""

    grid: Grid
    times: Float[Tensor, " time"]
    values: Float[Tensor, "time ..."]

    def index(self, t: Tensor) -> int:
        """The number of the last time that is not after t, and not the end."""
        k = int(torch.searchsorted(self.times, t.to(self.times), right=True)) - 1
        return min(max(k, 0), len(self.times) - 2)

    def interpolate(
        self, tables: Float[Tensor, "time ..."], z: Float[Tensor, "batch state"], t: Tensor
    ) -> Float[Tensor, " batch"]:
        """One number for each grid point and time, linearly between points and between times."""
        k = self.index(t)
        places = self.grid.places(z)[None]
        before, after = (self.grid.interpolate(table, places)[0] for table in tables[k : k + 2])
        return before + (t - self.times[k]) / (self.times[k + 1] - self.times[k]) * (after - before)

    def value(self, z: Float[Tensor, "batch state"], t: Tensor) -> Float[Tensor, " batch"]:
        """V(z, t) between grid points and times.

        Args:
            z: State (batch, state).
            t: Time, a scalar.

        Returns:
            V (batch,).
        """
        return self.interpolate(self.values, z, t)

    def costate(self, z: Float[Tensor, "batch state"], t: Tensor) -> Float[Tensor, "batch state"]:
        """p = grad V(z, t), by central differences between grid points.

        Where a circle closes, the differences are one-sided.

        Args:
            z: State (batch, state).
            t: Time, a scalar.

        Returns:
            p (batch, state).
        """
        k = self.index(t)
        near = CostToGo(self.grid, self.times[k : k + 2], self.values[k : k + 2])
        axes = list(range(1, self.values.ndim))
        slopes = torch.gradient(near.values, spacing=self.grid.spacing, dim=axes)
        return torch.stack([near.interpolate(table, z, t) for table in slopes], dim=-1)


def moves(
    system: System,
    z: Float[Tensor, "batch state"],
    controls: Float[Tensor, "choice control"],
    t: Tensor,
    h: Tensor,
) -> tuple[Float[Tensor, "choice batch state"], Float[Tensor, "choice batch"]]:
    """Try every control from every state for a time h.

    The state becomes z + h f(z, u, t), at the cost h l(z, u, t).

    Args:
        system: The controlled system.
        z: State (batch, state).
        controls: Controls (choice, control).
        t: Time, a scalar.
        h: Duration, a scalar.

    Returns:
        States (choice, batch, state) and costs (choice, batch).
    """
    states = z.repeat(len(controls), 1)
    u = controls.repeat_interleave(len(z), dim=0)
    after = states + h * system.plant(states, u, t)
    costs = h * system.running(states, u, t)
    return after.reshape(len(controls), *z.shape), costs.reshape(len(controls), len(z))


def noise(grid: Grid, variance: float, like: Tensor) -> list[Float[Tensor, "to from"]]:
    """For each axis the matrix that takes the mean of V over the noise of one step.

    E V(z + sqrt(variance) xi)

    The noise is a sum of n coin tosses that go one cell left, one right, or nowhere; n is so large
    that half of them or more go nowhere. The variance is exact away from the edges, where tosses
    that would leave the box stay.

    Args:
        grid: The grid.
        variance: Variance of each coordinate.
        like: A tensor of the wanted type.

    Returns:
        One matrix for each axis; its rows sum to 1.

    Source: Kushner.
    """
    matrices: list[Tensor] = []
    for axis, (gap, n) in enumerate(zip(grid.spacing, grid.count)):
        tosses = max(1, math.ceil(2 * variance / gap**2))
        stay = torch.eye(n).to(like)
        right, left = (
            stay[cells % n if axis in grid.circles else cells.clamp(0, n - 1)]
            for cells in (torch.arange(n) + 1, torch.arange(n) - 1)
        )
        toss = torch.lerp(stay, (right + left) / 2, variance / (tosses * gap**2))
        matrices.append(torch.matrix_power(toss, tosses))
    return matrices


def solve(
    system: System,
    grid: Grid,
    controls: Float[Tensor, "choice control"],
    times: Float[Tensor, " time"],
    g: float = 0.0,
) -> CostToGo:
    """Bellman's principle backwards in time: the semi-Lagrangian scheme for the HJB equation.

    V(z, t) = min_u { h l(z, u, t) + E V(z + h f(z, u, t) + g sqrt(h) xi, t + h) }
    V(z, 1) = Phi(z)

    Its error is of order h + dx min(1, dx / h) + du^2: refine spacing and step together. A move
    that leaves the box is charged what the nearest point of the box costs, so V can be trusted only
    where good paths stay inside.

    Args:
        system: The controlled system; neither f nor l may depend on the time.
        grid: The grid.
        controls: Controls (choice, control) to choose from, whose dtype is that of the solution.
        times: Times (time,), increasing by equal steps h.
        g: Noise >= 0.

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
    points = grid.points(controls.dtype)
    matrices = noise(grid, g**2 * float(h), points) if g else []
    after, costs = moves(system, points, controls, times[0], h)
    places = grid.places(after)
    tables = [system.terminal(points).reshape(grid.count)]
    for _ in times[:-1]:
        later = tables[-1]
        for axis, matrix in enumerate(matrices):
            later = later.movedim(axis, 0)
            mean = matrix @ later.reshape(len(matrix), -1)
            later = mean.reshape(later.shape).movedim(0, axis)
        tables.append(grid.interpolate(later, places).add_(costs).amin(0).reshape(grid.count))
    return CostToGo(grid, times, torch.stack(tables[::-1]))


def greedy(system: System, value: CostToGo, controls: Float[Tensor, "choice control"]) -> Policy:
    """The feedback policy that tries every control for one step and takes the best.

    u(z, t) = arg min_u { h l(z, u, t) + V(z + h f(z, u, t), t + h) }

    Args:
        system: The controlled system.
        value: Its cost-to-go.
        controls: Controls (choice, control) to choose from.

    Returns:
        A `Policy`.
    """

    def policy(z: Tensor, t: Tensor) -> Tensor:
        k = value.index(t)
        after, costs = moves(system, z, controls, t, value.times[k + 1] - value.times[k])
        later = value.grid.interpolate(value.values[k + 1], value.grid.places(after))
        return controls[(later + costs).argmin(0)]

    return policy
