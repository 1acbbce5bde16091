"""Checks of chapter 06: conditional and marginal velocity, pairs on the line, energies."""

import torch

from ..dynamics.records import Trajectory
from ..transport.energies import flow_energy, straightness
from ..transport.mixtures import mixture_velocity
from ..transport.planar import two_modes
from ..transport.schedules import Linear
from .draws import double, rand, randn
from .rules import Counted, Small
from .verdict import exercise


@exercise(
    "06.1",
    hints=(
        "where on its line is each pair at its own time?",
        "give the times a shape that multiplies rows; not all forms of (06.4) hold at both ends",
        "choose the form of the velocity that never divides",
    ),
)
def check_1():
    """Points and velocities of straight paths, each with its own time; both ends of time."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((3, 1), (4, 2), (2, 3, 5)):
        z0, z1, t = randn(rng, *shape), randn(rng, *shape), rand(rng, shape[0])
        wide = t.reshape(-1, *[1] * (len(shape) - 1))
        yield (z0, z1, t), (z0 + wide * (z1 - z0), z1 - z0)
        yield (z0, z1, torch.zeros_like(t)), (z0, z1 - z0)
        yield (z0, z1, torch.ones_like(t)), (z1, z1 - z0)


@exercise(
    "06.2",
    hints=(
        "given that the data point is y_i, how is z_t distributed?",
        "Bayes' rule gives each data point a weight; (06.6) asks for the mean under these weights",
        "all densities underflow near t = 1 or far out: compute the weights from logarithms",
    ),
    tolerance=1e-3,
)
def check_2():
    """One data point: the conditional velocity. At t = 0: the mean of the data. Else a mixture.

    Late, and far from all data, no density is a number above zero. The tolerance is that of single
    precision over 1 - t.
    """
    rng = torch.Generator().manual_seed(2)
    for batch, count, d in ((3, 1, 2), (4, 5, 1), (2, 50, 3)):
        z, data = randn(rng, batch, d), randn(rng, count, d)
        yield (z, 0.0, data), data.mean(0) - z
        for t in (0.3, 0.7, 0.999):
            for place in (t * data[:1] + (1 - t) * z, z, 5 + 3 * z):
                gap = -(place[:, None] - t * data).square().sum(-1) / (2 * (1 - t) ** 2)
                mean = gap.softmax(1) @ data
                yield (place, t, data), (mean - place) / (1 - t)


@exercise(
    "06.3",
    hints=(
        "which noise belongs to the smallest data point?",
        "both sides must be in the same order, but the data may not be moved",
        "sort the noise, and put each value where the data point of that rank stands",
    ),
)
def check_3():
    """The noise in the order of the data, and the data untouched; what is sorted stays."""
    rng = torch.Generator().manual_seed(3)
    for count in (1, 2, 7, 100):
        z0, z1 = randn(rng, count), randn(rng, count)
        expected = torch.empty_like(z0)
        for rank, place in enumerate(z1.tolist().index(value) for value in sorted(z1.tolist())):
            expected[place] = sorted(z0.tolist())[rank]
        yield (z0, z1), expected
        yield (z0.sort().values, z1.sort().values), z0.sort().values


@exercise(
    "06.4",
    hints=(
        "which velocity has a recorded path between two of its times?",
        "weight the square of each piece's velocity by the duration of the piece",
        "add the pieces, take the mean over paths; (06.14) also needs the energy of straight paths",
    ),
)
def check_4():
    """Energy and straightness of recorded paths at uneven times, and of straight paths."""
    rng = torch.Generator().manual_seed(4)
    for time, batch, d in ((2, 3, 1), (5, 4, 2), (30, 2, 3)):
        steps = rand(rng, time - 1) + 0.1
        times = torch.cat((torch.zeros(1), (steps / steps.sum()).cumsum(0)))
        states = randn(rng, time, batch, d)
        path = Trajectory(times, states)
        yield (times, states), (float(flow_energy(path)), float(straightness(path)))
        line = torch.lerp(states[:1], states[-1:], times[:, None, None])
        yield (times, line), (float((states[-1] - states[0]).square().sum(-1).mean()), 0.0)


@exercise(
    "06.5",
    hints=(
        "in which direction do z and t move together along a path?",
        "the derivative along a path is the derivative of the field in that one direction",
        "torch.func.jvp takes several inputs at once, and one tangent for each of them",
    ),
    tolerance=1e-8,
    rule=lambda inputs: Small(most=8 * inputs[1].numel()),
)
def check_5():
    """A rotation, a field that grows with time, a conditional velocity, and a mixture.

    The field may be evaluated once for the velocity and once for the derivative, and no Jacobian
    may be made.
    """
    rng = torch.Generator().manual_seed(5)
    for t in double(0.0, 0.2, 0.6):
        z = randn(rng, 4, 16)
        for field, expected in (
            (lambda z, t: torch.cat((-2 * z[:, 8:], 2 * z[:, :8]), dim=1), -4 * z),
            (lambda z, t: 3 * t * torch.ones_like(z), torch.full_like(z, 3.0)),
            (lambda z, t: (1 - z) / (1 - t), torch.zeros_like(z)),
            (lambda z, t: z * t, z * (1 + t**2)),
        ):
            yield (Counted(field, 2, "the field"), z, t), expected
        field, z, h = mixture_velocity(Linear(), two_modes(1.0)), randn(rng, 3, 1), 1e-4
        u = field(z, t)
        far, ahead, behind, back = (field(z + s * h * u, t + s * h) for s in (2, 1, -1, -2))
        yield (
            (Counted(field, 2, "the field"), z, t),
            (8 * (ahead - behind) - (far - back)) / (12 * h),
        )
