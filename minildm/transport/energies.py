"""What a transport costs: energies of paths, fields and best pairs, and how straight flows are."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..control.bridges import Mixture
from ..dynamics.linalg import ndtr, ndtri
from ..dynamics.records import Field, Trajectory
from .mixtures import marginal, mixture_velocity
from .schedules import Linear


def energy(velocity: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Mean squared speed, E |u|^2.

    Over uniform times and points it is the energy int_0^1 E |u(z_t, t)|^2 dt: conditional for
    z_1 - z_0, marginal for the field E[u | z_t], and W_2^2 for the best pairs.
    conditional >= marginal >= W_2^2

    Args:
        velocity: u (batch, ...).

    Returns:
        A number.

    Derived in chapter 06.
    """
    return velocity.flatten(1).square().sum(1).mean()


def flow_energy(path: Trajectory) -> Float[Tensor, ""]:
    """The energy that a recorded flow spent, averaged over the batch.

    sum_k |z_{k+1} - z_k|^2 / (t_{k+1} - t_k)

    Args:
        path: A recorded flow.

    Returns:
        A number, which rises to the energy as the steps get short.
    """
    moves = path.states.diff(dim=0).flatten(2).square().sum(2).mean(1)
    return (moves / path.times.diff()).sum()


def straightness(path: Trajectory) -> Float[Tensor, ""]:
    """How far flows are from straight lines at constant speed, int E |u - (z_1 - z_0)|^2 dt.

    It is the energy of the flow minus E |z_1 - z_0|^2.

    Args:
        path: A flow, recorded from 0 to 1.

    Returns:
        A number, 0 if one step of Euler is exact.

    Source: Rectified Flow.
    """
    return flow_energy(path) - energy(path.states[-1] - path.states[0])


def acceleration(
    field: Field, z: Float[Tensor, "batch ..."], t: Float[Tensor, ""]
) -> Float[Tensor, "batch ..."]:
    """How the velocity of a particle of the flow changes, du/dt + (u . grad) u.

    It is the gradient of the HJB residual, negated, and zero where all paths are straight at
    constant speed. For a field E[u* | z_t] it is -div(p_t Cov(u* | z_t)) / p_t.

    Args:
        field: u, differentiable; the rows of its batch must not depend on each other.
        z: Points (batch, ...).
        t: Time, a scalar.

    Returns:
        Accelerations (batch, ...).
    """
    return torch.func.jvp(field, (z, t), (field(z, t), torch.ones_like(t)))[1]


@dataclass(frozen=True)
class Energies:
    """Energies of transports from N(0, 1) to a mixture on the line, each at most the one before."""

    conditional: float  # of the straight paths of independent pairs
    marginal: float  # of the field that flow matching learns from them
    optimal: float  # W_2^2, of the best field


def energies(mixture: Mixture) -> Energies:
    """The three energies of a mixture on the line, by quadrature in time and space.

    conditional = E (z_1 - z_0)^2 = E z_1^2 + 1
    marginal = int int p_t(z) u(z, t)^2 dz dt
    optimal = int p_1(z) (z - Phi^-1(F_1(z)))^2 dz, as the best plan keeps quantiles

    Args:
        mixture: In one dimension, with positive variances.

    Returns:
        `Energies`.

    Derived in chapter 06.
    """
    mixture = Mixture(
        mixture.log_weights.double(), mixture.means.double(), mixture.variances.double()
    )
    weights = mixture.log_weights.exp()
    means = mixture.means[:, 0]
    stds = mixture.variances.sqrt()
    reach = float((means.abs() + 9 * stds.clamp(min=1)).max())
    z = torch.linspace(-reach, reach, 8001, dtype=torch.float64)
    dz = z[1] - z[0]

    x, w = map(torch.as_tensor, np.polynomial.legendre.leggauss(64))
    field = mixture_velocity(Linear(), mixture)

    def power(t: Tensor) -> Tensor:
        density = marginal(Linear(), mixture, t).log_density(z[:, None]).exp()
        return (density * field(z[:, None], t)[:, 0] ** 2).sum() * dz

    powers = torch.stack([power(t) for t in (x + 1) / 2])
    below = (weights * ndtr((z[:, None] - means) / stds)).sum(1)
    quantile = ndtri(below.clamp(1e-15, 1 - 1e-15))
    optimal = (mixture.log_density(z[:, None]).exp() * (z - quantile) ** 2).sum() * dz
    return Energies(
        conditional=float(1 + (weights * (means**2 + mixture.variances)).sum()),
        marginal=float((w / 2 * powers).sum()),
        optimal=float(optimal),
    )
