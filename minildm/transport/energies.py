"""What a transport costs: the energy of paths, of their mean field and of the best transport, and
how straight flows are.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..control.bridges import Mixture
from ..dynamics.records import Field, Trajectory
from .mixtures import marginal, mixture_velocity
from .schedules import Linear


def energy(velocity: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Mean squared speed, E |u|^2: over uniform times and points it is the energy int_0^1 E |u(z_t,
    t)|^2 dt.

    Of z_1 - z_0 it is the conditional energy; of the field E[u | z_t], the marginal energy; of the
    best pairs, W_2^2. conditional >= marginal >= W_2^2

    Args:
        velocity: (batch, ...).

    Returns:
        A number.

    Derived in chapter 06.
    """
    return velocity.flatten(1).square().sum(1).mean()


def flow_energy(path: Trajectory) -> Float[Tensor, ""]:
    """The energy that a recorded flow spent, the mean over the batch of sum_k |z_{k+1} - z_k|^2 /
    (t_{k+1} - t_k).

    Args:
        path: The path.

    Returns:
        A number, from below as the steps get short.
    """
    moves = path.states.diff(dim=0).flatten(2).square().sum(2).mean(1)
    return (moves / path.times.diff()).sum()


def straightness(path: Trajectory) -> Float[Tensor, ""]:
    """How far flows are from straight lines at an even speed, int E |u - (z_1 - z_0)|^2 dt = energy
    - E |z_1 - z_0|^2.

    Args:
        path: Recorded from 0 to 1.

    Returns:
        A number, 0 if one step of Euler is exact.

    Source: Rectified Flow.
    """
    return flow_energy(path) - energy(path.states[-1] - path.states[0])


def acceleration(
    field: Field, z: Float[Tensor, "batch ..."], t: Float[Tensor, ""]
) -> Float[Tensor, "batch ..."]:
    """How the velocity of a particle of the flow changes, du/dt + (u . grad) u: the gradient of the
    HJB residual, negated.

    Zero everywhere where paths are straight at an even speed. For a field E[u* | z_t] it is
    -div(p_t Cov(u* | z_t)) / p_t.

    Args:
        field: Differentiable, whose rows do not look at each other.
        z: (batch, ...).
        t: Scalar.

    Returns:
        (batch, ...).
    """
    return torch.func.jvp(field, (z, t), (field(z, t), torch.ones_like(t)))[1]


@dataclass(frozen=True)
class Energies:
    """Energies of transports from N(0, 1) to a law on the line, each at most the one before."""

    conditional: float  # of the straight paths of independent pairs
    marginal: float  # of the field that flow matching learns from them
    optimal: float  # W_2^2, of the best field


def energies(law: Mixture, nodes: int = 64, points: int = 8001) -> Energies:
    """The three energies of a mixture on the line, by quadrature.

    conditional = E (z_1 - z_0)^2 = E z_1^2 + 1,  marginal = int int p_t(z) u(z, t)^2 dz dt,
    optimal = int p_1(z) (z - Phi^-1(F_1(z)))^2 dz, as the best plan keeps quantiles

    Args:
        law: In one dimension, variances positive.
        nodes: Of Gauss-Legendre in time.
        points: In space.

    Returns:
        `Energies`.

    Derived in chapter 06.
    """
    schedule, weights, means = Linear(), law.log_weights.double().exp(), law.means.double()[:, 0]
    spreads = law.variances.double().sqrt()
    law = Mixture(law.log_weights.double(), law.means.double(), law.variances.double())
    reach = float((means.abs() + 9 * spreads.clamp(min=1)).max())
    z = torch.linspace(-reach, reach, points, dtype=torch.float64)
    dz = z[1] - z[0]

    x, w = map(torch.from_numpy, np.polynomial.legendre.leggauss(nodes))
    field = mixture_velocity(schedule, law)
    powers = [
        (
            marginal(schedule, law, t).log_density(z[:, None]).exp()
            * field(z[:, None], t)[:, 0] ** 2
        ).sum()
        * dz
        for t in (x + 1) / 2
    ]

    below = (weights * torch.special.ndtr((z[:, None] - means) / spreads)).sum(1)
    quantile = torch.special.ndtri(below.clamp(1e-15, 1 - 1e-15))
    optimal = (law.log_density(z[:, None]).exp() * (z - quantile) ** 2).sum() * dz
    return Energies(
        float(1 + (weights * (means**2 + law.variances)).sum()),
        float((w / 2 * torch.stack(powers)).sum()),
        float(optimal),
    )
