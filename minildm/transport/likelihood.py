"""The log-likelihood of a flow: data flow back to noise, and the divergence is added up."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.records import Field
from ..dynamics.solvers import Step, integrate
from .mass import Divergence, exact_divergence


def log_normal(z: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    """log N(z; 0, I) of each row, in nats.

    Args:
        z: Points (batch, ...).

    Returns:
        Nats (batch,).
    """
    return -(z.flatten(1).square() + math.log(2 * math.pi)).sum(1) / 2


def log_likelihood(
    field: Field,
    z1: Float[Tensor, "batch ..."],
    times: Float[Tensor, " time"],
    method: str | Step = "rk4",
    divergence: Divergence = exact_divergence,
) -> Float[Tensor, " batch"]:
    """The log-density that a flow from N(0, I) gives to data, by the change of variables.

    d/dt log p_t(z_t) = -div u(z_t, t)
    log p_1(z_1) = log N(z_0; 0, I) - int_0^1 div u(z_t, t) dt

    Args:
        field: u.
        z1: Data (batch, ...).
        times: Grid of the solver (time,), from 0 to 1.
        method: Solver, as `integrate` takes it.
        divergence: Exact or `hutchinson`, whose estimate is unbiased.

    Returns:
        Nats (batch,).

    Derived in chapter 05. Source: FFJORD.
    """

    def slope(both: Tensor, t: Tensor) -> Tensor:
        """Of the state, flat, with one more number: the integral of the divergence."""
        u, spread = divergence(field, both[:, :-1].reshape(z1.shape), t)
        return torch.cat((u.flatten(1), spread[:, None]), dim=1)

    start = torch.cat((z1.flatten(1), torch.zeros_like(z1.flatten(1)[:, :1])), dim=1)
    end = integrate(slope, start, times.flip(0), method, record=False).states[-1]
    return log_normal(end[:, :-1]) + end[:, -1]  # backwards, the integral has the other sign
