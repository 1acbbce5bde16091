"""How a field and noise move probability mass: divergence, the continuity and Fokker-Planck
equations, one law two motions.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, jvp, vjp

from ..dynamics.solvers import Field
from .heads import noise_from_velocity, score_from_noise
from .schedules import Schedule

Divergence = Callable[
    [Field, Tensor, Tensor], tuple[Tensor, Tensor]
]  # (u, z, t) -> u(z, t) and div u, (batch,)


def exact_divergence(
    field: Field, z: Float[Tensor, "batch ..."], t: Tensor
) -> tuple[Tensor, Float[Tensor, " batch"]]:
    """A field and its divergence, div u = sum_i du_i/dz_i, by one vector-Jacobian product for each
    number of a state.

    Args:
        field: Whose rows do not look at each other.
        z: (batch, ...).
        t: Time, a scalar or (batch,).

    Returns:
        u (batch, ...) and div u (batch,).
    """
    u, pull = vjp(lambda z: field(z, t), z)
    axes = torch.eye(z[0].numel(), dtype=z.dtype, device=z.device)
    return u, sum(
        pull(axis.reshape(z[:1].shape).expand_as(z))[0].flatten(1) @ axis for axis in axes
    )


def hutchinson(probes: Float[Tensor, "probes batch ..."]) -> Divergence:
    """An unbiased estimate of the divergence at the price of a few products, mean over e of
    e'(du/dz) e with E[e e'] = I.

    Args:
        probes: e (probes, batch, ...), such as random signs; kept along a path, so that the
            estimate is a smooth function of time.

    Returns:
        A function like `exact_divergence`.

    Source: FFJORD.
    """

    def estimate(field: Field, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        u, pull = vjp(lambda z: field(z, t), z)
        return u, torch.stack([(pull(e)[0] * e).flatten(1).sum(1) for e in probes]).mean(0)

    return estimate


def random_signs(
    count: int, z: Float[Tensor, "batch ..."], rng: torch.Generator
) -> Float[Tensor, "count batch ..."]:
    """Probes for `hutchinson`: independent signs, whose estimate has no error where the Jacobian is
    diagonal.

    Args:
        count: How many.
        z: (batch, ...).
        rng: Generator of the random numbers.

    Returns:
        +-1, (count, batch, ...).

    Source: FFJORD.
    """
    return (
        torch.randint(0, 2, (count, *z.shape), generator=rng, device=z.device).to(z.dtype) * 2 - 1
    )


def fokker_planck_residual(
    log_density: Callable[[Tensor, Tensor], Tensor],
    drift: Field,
    z: Float[Tensor, "batch d"],
    t: Float[Tensor, ""],
    g: float = 0.0,
) -> Float[Tensor, " batch"]:
    """What is left of the Fokker-Planck equation divided by p; with g = 0 it is the continuity
    equation.

    dp/dt + div(p v) - g^2/2 lap p = 0, so with l = log p:  dl/dt + v . grad l + div v - g^2/2 (lap
    l + |grad l|^2)

    Args:
        log_density: l, (z, t) -> (batch,).
        drift: v.
        z: (batch, d).
        t: Scalar.
        g: >= 0.

    Returns:
        The residual (batch,), zero where l is the law of dz = v dt + g dW.

    Derived in chapter 05.
    """
    _, rate = jvp(lambda t: log_density(z, t), (t,), (torch.ones_like(t),))
    score, curvature = exact_divergence(
        lambda z, t: grad(lambda z: log_density(z, t).sum())(z), z, t
    )
    v, spread = exact_divergence(drift, z, t)
    return rate + (v * score).sum(-1) + spread - g**2 / 2 * (curvature + score.square().sum(-1))


def noisy_drift(velocity: Field, score: Field, g: float) -> Field:
    """The drift of a stochastic motion with the marginals of a flow: noise spreads the law and
    g^2/2 grad log p gathers it.

    dz = (u + g^2/2 grad log p_t) dt + g dW and dz = u dt have one law at each time

    Args:
        velocity: u.
        score: Grad log p_t.
        g: >= 0.

    Returns:
        A field, for `euler_maruyama(g)`.

    Derived in chapter 05. Source: Anderson.
    """
    return lambda z, t: velocity(z, t) + g**2 / 2 * score(z, t)


def score_of_flow(schedule: Schedule, velocity: Field) -> Field:
    """The score that a flow-matching field knows, s = -z_0 / b with z_0 = (a' z - a u)/(a' b - a
    b').

    On the straight path s = (t u - z)/(1 - t). So a flow may be made stochastic without another
    network.

    Args:
        schedule: Coefficients of the path.
        velocity: u, a posterior mean of independent pairs.

    Returns:
        A field, for t below 1.

    Derived in chapter 07. Source: SiT.
    """

    def score(z: Tensor, t: Tensor) -> Tensor:
        each = t.expand(len(z))
        return score_from_noise(
            schedule, z, noise_from_velocity(schedule, z, velocity(z, t), each), each
        )

    return score
