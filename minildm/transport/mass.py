"""How a field and noise move probability mass: divergence and the Fokker-Planck equation."""

import operator
from collections.abc import Callable
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp

from ..dynamics.jacobians import gradient
from ..dynamics.records import Field

# (u, z, t) -> u(z, t) and div u, (batch,)
Divergence = Callable[[Field, Tensor, Tensor], tuple[Tensor, Tensor]]


def exact_divergence(
    field: Field, z: Float[Tensor, "batch ..."], t: Tensor
) -> tuple[Tensor, Float[Tensor, " batch"]]:
    """A field and its divergence, div u = sum_i du_i/dz_i, by one product for each coordinate.

    Args:
        field: u; the rows of its batch must not depend on each other.
        z: Points (batch, ...).
        t: Time, a scalar or (batch,).

    Returns:
        u (batch, ...) and div u (batch,).
    """

    def at(z: Tensor) -> Tensor:
        return field(z, t)

    u, backward, *_ = vjp(at, z)
    axes = torch.eye(z[0].numel(), dtype=z.dtype, device=z.device)
    products = (backward(axis.reshape(z[:1].shape).expand_as(z))[0] for axis in axes)
    slopes = (product.flatten(1) @ axis for product, axis in zip(products, axes))
    return u, reduce(operator.add, slopes)


def hutchinson(probes: Float[Tensor, "probes batch ..."]) -> Divergence:
    """An unbiased estimate of the divergence at the cost of a few products.

    mean over e of e'(du/dz) e with E[e e'] = I

    Args:
        probes: e (probes, batch, ...), such as random signs; kept along a path, so that the
            estimate is a smooth function of time.

    Returns:
        A function like `exact_divergence`.

    Source: FFJORD.
    """

    def estimate(field: Field, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        def at(z: Tensor) -> Tensor:
            return field(z, t)

        u, backward, *_ = vjp(at, z)
        return u, torch.stack([(backward(e)[0] * e).flatten(1).sum(1) for e in probes]).mean(0)

    return estimate


def random_signs(
    count: int, z: Float[Tensor, "batch ..."], rng: torch.Generator
) -> Float[Tensor, "count batch ..."]:
    """Probes for `hutchinson`: independent signs, which are exact where the Jacobian is diagonal.

    Args:
        count: Number of probes.
        z: Points (batch, ...), whose shape the probes take.
        rng: Generator of the random numbers.

    Returns:
        +-1, (count, batch, ...).

    Source: FFJORD.
    """
    bits = torch.randint(0, 2, (count, *z.shape), generator=rng, device=z.device)
    return bits.to(z.dtype) * 2 - 1


def fokker_planck_residual(
    log_density: Callable[[Tensor, Tensor], Tensor],
    drift: Field,
    z: Float[Tensor, "batch d"],
    t: Float[Tensor, ""],
    g: float = 0.0,
) -> Float[Tensor, " batch"]:
    """What is left of the Fokker-Planck equation divided by p, of the continuity equation if g = 0.

    dp/dt + div(p v) - g^2/2 lap p = 0, so with l = log p:
    dl/dt + v . grad l + div v - g^2/2 (lap l + |grad l|^2)

    Args:
        log_density: l, (z, t) -> (batch,).
        drift: v.
        z: Points (batch, d).
        t: Time, a scalar.
        g: Amplitude of the noise, >= 0.

    Returns:
        The residual (batch,), zero where l is the log-density of dz = v dt + g dW.

    Derived in chapter 05.
    """

    def at(t: Tensor) -> Tensor:
        return log_density(z, t)

    def slope(z: Tensor, t: Tensor) -> Tensor:
        def density(z: Tensor) -> Tensor:
            return log_density(z, t)

        return gradient(density, z)

    _, rate, *_ = jvp(at, (t,), (torch.ones_like(t),))
    score, curvature = exact_divergence(slope, z, t)
    v, spread = exact_divergence(drift, z, t)
    return rate + (v * score).sum(-1) + spread - g**2 / 2 * (curvature + score.square().sum(-1))


def noisy_drift(velocity: Field, score: Field, g: float) -> Field:
    """The drift of a stochastic process with the marginals of a flow.

    dz = (u + g^2/2 grad log p_t) dt + g dW and dz = u dt have one distribution at each time.

    Args:
        velocity: u, of the flow.
        score: Grad log p_t.
        g: Amplitude of the noise, >= 0.

    Returns:
        A field, for `euler_maruyama(g)`.

    Derived in chapter 05. Source: Anderson.
    """

    def drift(z: Tensor, t: Tensor) -> Tensor:
        return velocity(z, t) + g**2 / 2 * score(z, t)

    return drift
