"""Checks of chapter 06: a pair, the mean field of a data set, pairs on the line, energies of a flow, its acceleration."""

import torch

from ..dynamics.records import Trajectory
from ..transport.energies import flow_energy, straightness
from ..transport.mixtures import mixture_velocity
from ..transport.planar import two_modes
from ..transport.schedules import Linear
from .verdict import exercise


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def rand(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Uniform numbers in double precision."""
    return torch.rand(*shape, generator=rng, dtype=torch.float64)


@exercise("06.1", hints=("z_t mixes the two ends; of the forms of (06.4), choose the one that never divides by zero",))
def check_1():
    """Points and velocities of straight paths: states of any shape, each with its own time; both ends of time."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((3, 1), (4, 2), (2, 3, 5)):
        z0, z1, t = randn(rng, *shape), randn(rng, *shape), rand(rng, shape[0])
        share = t.reshape(-1, *[1] * (len(shape) - 1))
        yield (z0, z1, t), (z0 + share * (z1 - z0), z1 - z0)
        yield (z0, z1, torch.zeros_like(t)), (z0, z1 - z0)
        yield (z0, z1, torch.ones_like(t)), (z1, z1 - z0)


@exercise("06.2", hints=("z_t is Gaussian about t y_i with variance (1 - t)^2; a softmax over the data gives the weights",))
def check_2():
    """One data point: the pinned law. At t = 0: the mean of the data. Else the mixture of Gaussians of no width, also late."""
    rng = torch.Generator().manual_seed(2)
    for batch, count, d in ((3, 1, 2), (4, 5, 1), (2, 50, 3)):
        z, data = randn(rng, batch, d), randn(rng, count, d)
        yield (z, 0.0, data), data.mean(0) - z
        for t in (0.3, 0.7, 0.999):
            near = t * data[:1] + (1 - t) * z
            gap = -(near[:, None] - t * data).square().sum(-1) / (2 * (1 - t) ** 2)
            share = (gap - gap.max(dim=1, keepdim=True).values).exp()
            mean = (share[..., None] * data).sum(1) / share.sum(1, keepdim=True)
            yield (near, t, data), (mean - near) / (1 - t)


@exercise("06.3", hints=("the smallest noise goes with the smallest data: put the sorted noise where the data of that rank stand",))
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


@exercise("06.4", hints=("a step from t_k to t_{k+1} has the velocity (z_{k+1} - z_k)/(t_{k+1} - t_k), and lasts t_{k+1} - t_k",))
def check_4():
    """Energy and straightness of recorded paths at uneven times; straight ones have none of the second."""
    rng = torch.Generator().manual_seed(4)
    for time, batch, d in ((2, 3, 1), (5, 4, 2), (30, 2, 3)):
        steps = rand(rng, time - 1) + 0.1
        times = torch.cat((torch.zeros(1), (steps / steps.sum()).cumsum(0)))
        states = randn(rng, time, batch, d)
        path = Trajectory(times, states)
        yield (times, states), (float(flow_energy(path)), float(straightness(path)))
        line = torch.lerp(states[:1], states[-1:], times[:, None, None])
        yield (times, line), (float((states[-1] - states[0]).square().sum(-1).mean()), 0.0)


@exercise("06.5", hints=("torch.func.jvp(field, (z, t), (how z moves, how t moves)) is the derivative along the path",))
def check_5():
    """A turn accelerates towards its center, a push that grows with time evenly, a pinned law not at all; then a mixture."""
    rng = torch.Generator().manual_seed(5)
    turn = torch.tensor([[0.0, 2.0], [-2.0, 0.0]], dtype=torch.float64)
    for t in torch.tensor([0.0, 0.2, 0.6], dtype=torch.float64):
        z = randn(rng, 4, 2)
        yield (lambda z, t: z @ turn, z, t), -4 * z
        yield (lambda z, t: 3 * t * torch.ones_like(z), z, t), torch.full_like(z, 3.0)
        yield (lambda z, t: (1 - z) / (1 - t), z, t), torch.zeros_like(z)
        yield (lambda z, t: z * t, z, t), z * (1 + t**2)
        field, z, h = mixture_velocity(Linear(), two_modes(1.0)), randn(rng, 3, 1), 1e-4
        u = field(z, t)
        ahead, behind = (field(z + s * u, t + s) for s in (h, -h))
        far, back = (field(z + s * u, t + s) for s in (2 * h, -2 * h))
        yield (field, z, t), (8 * (ahead - behind) - (far - back)) / (12 * h)
