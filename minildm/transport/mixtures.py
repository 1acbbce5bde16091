"""Gaussian mixtures on a path, in closed form: marginals and posterior means."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..control.bridges import Mixture
from ..dynamics.records import Field
from .schedules import Schedule


def marginal(schedule: Schedule, mixture: Mixture, t: Float[Tensor, ""]) -> Mixture:
    """The distribution of z_t when z_1 is a mixture: sum_k w_k N(a m_k, (a^2 v_k + b^2) I).

    Args:
        schedule: Coefficients of the path.
        mixture: Distribution of z_1.
        t: Time, a scalar.

    Returns:
        A `Mixture`.
    """
    a = schedule.a(t)
    variances = a**2 * mixture.variances + schedule.b(t) ** 2
    return Mixture(mixture.log_weights, a * mixture.means, variances)


def responsibilities(
    schedule: Schedule,
    mixture: Mixture,
    z: Float[Tensor, "batch d"],
    t: Float[Tensor, ""] | Float[Tensor, " batch"],
) -> tuple[Tensor, Tensor, Tensor]:
    """How likely each Gaussian made z_t, and how far z_t is from its mean.

    r_k ~ w_k N(z; a m_k, q_k I),  q_k = a^2 v_k + b^2

    Args:
        schedule: Coefficients of the path.
        mixture: Distribution of z_1.
        z: Points (batch, d).
        t: Time, a scalar or (batch,).

    Returns:
        r (batch, k), the differences z - a m_k (batch, k, d), and q, (k,) or (batch, k).
    """
    a = schedule.a(t)[..., None]
    q = a**2 * mixture.variances + schedule.b(t)[..., None] ** 2
    gap = z[:, None] - a[..., None] * mixture.means
    logits = mixture.log_weights - gap.square().sum(-1) / (2 * q) - z.shape[-1] / 2 * q.log()
    return logits.softmax(-1), gap, q


def posterior(
    schedule: Schedule,
    mixture: Mixture,
    z: Float[Tensor, "batch d"],
    t: Float[Tensor, ""] | Float[Tensor, " batch"],
) -> tuple[Tensor, Tensor]:
    """The best predictions of data and noise from z_t, when they were drawn independently.

    E[z_1 | z_t] = sum_k r_k (m_k + a v_k / q_k (z - a m_k))
    E[z_0 | z_t] = sum_k r_k b / q_k (z - a m_k)

    Args:
        schedule: Coefficients of the path.
        mixture: Distribution of z_1.
        z: Points (batch, d).
        t: Time, a scalar or (batch,), below 1 if a variance is zero.

    Returns:
        z_1 and z_0, (batch, d).

    Derived in chapter 06.
    """
    r, gap, q = responsibilities(schedule, mixture, z, t)
    a = schedule.a(t)[..., None]
    b = schedule.b(t)[..., None]
    denoised = r[..., None] * (mixture.means + (a * mixture.variances / q)[..., None] * gap)
    noise = (r * b / q)[..., None] * gap
    return denoised.sum(1), noise.sum(1)


def mixture_velocity(schedule: Schedule, mixture: Mixture) -> Field:
    """The field that flow matching learns for a mixture, the mean velocity of all paths through z.

    u(z, t) = E[a' z_1 + b' z_0 | z_t = z]

    On the straight path it is (E[z_1 | z] - z)/(1 - t), the mean of pinned controls.

    Args:
        schedule: Coefficients of the path.
        mixture: Distribution of z_1.

    Returns:
        A field of z (batch, d) and t, a scalar or (batch,).

    Derived in chapter 06.
    """

    def velocity(z: Tensor, t: Tensor) -> Tensor:
        return schedule.velocity(*posterior(schedule, mixture, z, t), t[..., None])

    return velocity


def mixture_score(schedule: Schedule, mixture: Mixture) -> Field:
    """The score of z_t when z_1 is a mixture.

    grad log p_t(z) = -sum_k r_k (z - a m_k) / q_k = -E[z_0 | z_t = z] / b

    Args:
        schedule: Coefficients of the path.
        mixture: Distribution of z_1.

    Returns:
        A field of z (batch, d) and t, a scalar or (batch,).
    """

    def score(z: Tensor, t: Tensor) -> Tensor:
        r, gap, q = responsibilities(schedule, mixture, z, t)
        return -((r / q)[..., None] * gap).sum(1)

    return score


def denoising_error(
    schedule: Schedule, mixture: Mixture, t: Float[Tensor, " n"], points: int = 301
) -> Float[Tensor, " n"]:
    """The least loss of a data prediction on the line, E (z_1 - E[z_1 | z_t])^2, by quadrature.

    Var(z_1 | z) = sum_k r_k (v_k b^2 / q_k + (c_k - sum_j r_j c_j)^2)
    c_k = m_k + a v_k / q_k (z - a m_k)

    Args:
        schedule: Coefficients of the path.
        mixture: Distribution of z_1, in one dimension.
        t: Times (n,), below 1 if a variance is zero.
        points: Nodes of the quadrature for each Gaussian.

    Returns:
        The error (n,), in units of z_1 squared.

    Derived in chapter 07.
    """
    x = torch.linspace(-8, 8, points, dtype=mixture.means.dtype)
    a = schedule.a(t)[:, None]
    b = schedule.b(t)[:, None]
    spread = (a**2 * mixture.variances + b**2).sqrt()
    z = (a * mixture.means[:, 0])[..., None] + spread[..., None] * x  # (n, k, points)
    each = t.repeat_interleave(z[0].numel())
    r, gap, q = responsibilities(schedule, mixture, z.reshape(-1, 1), each)
    a = schedule.a(each)[:, None]
    b = schedule.b(each)[:, None]
    centers = mixture.means[:, 0] + a * mixture.variances / q * gap[..., 0]
    middle = (r * centers).sum(1, keepdim=True)
    left = r * (mixture.variances * b**2 / q + (centers - middle) ** 2)
    variance = left.sum(1).reshape(z.shape)
    weights = mixture.log_weights.softmax(0)[:, None] * (-(x**2) / 2).softmax(0)
    return (weights * variance).sum((1, 2))
