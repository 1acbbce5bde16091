"""Gaussian mixtures on a path, in closed form: the law at each time, and the posterior means that
networks learn.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ..control.bridges import Mixture
from ..dynamics.solvers import Field
from .schedules import Schedule


def marginal(schedule: Schedule, law: Mixture, t: Float[Tensor, ""]) -> Mixture:
    """The law of z_t when z_1 is a mixture: again one, sum_k w_k N(a m_k, (a^2 v_k + b^2) I).

    Args:
        schedule: Coefficients of the path.
        law: Of z_1.
        t: Scalar.

    Returns:
        A `Mixture`.
    """
    a, b = schedule.a(t), schedule.b(t)
    return Mixture(law.log_weights, a * law.means, a**2 * law.variances + b**2)


def responsibilities(
    schedule: Schedule,
    law: Mixture,
    z: Float[Tensor, "batch d"],
    t: Float[Tensor, ""] | Float[Tensor, " batch"],
) -> tuple[Tensor, Tensor, Tensor]:
    """How likely each Gaussian made z_t, and what z_t is beyond its mean: r_k ~ w_k N(z; a m_k, q_k
    I), q_k = a^2 v_k + b^2.

    Args:
        schedule: Coefficients of the path.
        law: The distribution.
        z: (batch, d).
        t: Scalar or (batch,).

    Returns:
        r (batch, k), the gaps z - a m_k (batch, k, d) and q (k,) or (batch, k).
    """
    a, b = schedule.a(t)[..., None], schedule.b(t)[..., None]
    q, gap = a**2 * law.variances + b**2, z[:, None] - a[..., None] * law.means
    return (
        (law.log_weights - gap.square().sum(-1) / (2 * q) - z.shape[-1] / 2 * q.log()).softmax(-1),
        gap,
        q,
    )


def posterior(
    schedule: Schedule,
    law: Mixture,
    z: Float[Tensor, "batch d"],
    t: Float[Tensor, ""] | Float[Tensor, " batch"],
) -> tuple[Tensor, Tensor]:
    """The best predictions of data and noise from z_t, when they were drawn independently.

    E[z_1 | z_t] = sum_k r_k (m_k + a v_k / q_k (z - a m_k)),  E[z_0 | z_t] = sum_k r_k b / q_k (z -
    a m_k)

    Args:
        schedule: Coefficients of the path.
        law: Of z_1.
        z: (batch, d).
        t: Scalar or (batch,), below 1 if a variance is zero.

    Returns:
        z_1 and z_0 (batch, d).

    Derived in chapter 06.
    """
    r, gap, q = responsibilities(schedule, law, z, t)
    a, b = schedule.a(t)[..., None], schedule.b(t)[..., None]
    clean = r[..., None] * (law.means + (a * law.variances / q)[..., None] * gap)
    noise = (r * b / q)[..., None] * gap
    return clean.sum(1), noise.sum(1)


def mixture_velocity(schedule: Schedule, law: Mixture) -> Field:
    """The field that flow matching learns for a mixture, the mean of the velocities of all paths
    through z at time t.

    u(z, t) = E[a' z_1 + b' z_0 | z_t = z]; on the straight path (E[z_1 | z] - z)/(1 - t), the mean
    of pinned controls

    Args:
        schedule: Coefficients of the path.
        law: Of z_1.

    Returns:
        A field of z (batch, d) and t, scalar or (batch,).

    Derived in chapter 06.
    """
    return lambda z, t: schedule.velocity(*posterior(schedule, law, z, t), t[..., None])


def mixture_score(schedule: Schedule, law: Mixture) -> Field:
    """The score of the law of z_t, grad log p_t(z) = -sum_k r_k (z - a m_k) / q_k = -E[z_0 | z_t =
    z] / b.

    Args:
        schedule: Coefficients of the path.
        law: Of z_1.

    Returns:
        A field of z (batch, d) and t, scalar or (batch,).
    """

    def score(z: Tensor, t: Tensor) -> Tensor:
        r, gap, q = responsibilities(schedule, law, z, t)
        return -((r / q)[..., None] * gap).sum(1)

    return score


def denoising_error(
    schedule: Schedule, law: Mixture, t: Float[Tensor, " n"], points: int = 301
) -> Float[Tensor, " n"]:
    """The least loss of a clean head on the line, E (z_1 - E[z_1 | z_t])^2: what z_t leaves open,
    by quadrature.

    Var(z_1 | z) = sum_k r_k (v_k b^2 / q_k + (c_k - sum_j r_j c_j)^2),  c_k = m_k + a v_k / q_k (z
    - a m_k)

    Args:
        schedule: Coefficients of the path.
        law: Of z_1, in one dimension.
        t: (n,), below 1 if a variance is zero.
        points: Of the quadrature for each Gaussian.

    Returns:
        The error (n,), in units of z_1 squared.

    Derived in chapter 07.
    """
    x = torch.linspace(-8, 8, points, dtype=law.means.dtype)
    a, b = schedule.a(t)[:, None], schedule.b(t)[:, None]
    z = (a * law.means[:, 0])[..., None] + (a**2 * law.variances + b**2).sqrt()[
        ..., None
    ] * x  # (n, k, points)
    each = t.repeat_interleave(z[0].numel())
    r, gap, q = responsibilities(schedule, law, z.reshape(-1, 1), each)
    a, b = schedule.a(each)[:, None], schedule.b(each)[:, None]
    centers = law.means[:, 0] + a * law.variances / q * gap[..., 0]
    middle = (r * centers).sum(1, keepdim=True)
    unknown = (r * (law.variances * b**2 / q + (centers - middle) ** 2)).sum(1).reshape(z.shape)
    return (law.log_weights.softmax(0)[:, None] * (-(x**2) / 2).softmax(0) * unknown).sum((1, 2))
