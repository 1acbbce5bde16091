"""Stiffness: how fast the field of a mixture pulls neighbors apart, exactly; `dynamics.jacobians`
measures any other field.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..control.bridges import Mixture
from .mixtures import responsibilities
from .schedules import Schedule


def mixture_jacobian(
    schedule: Schedule,
    law: Mixture,
    z: Float[Tensor, "batch d"],
    t: Float[Tensor, ""] | Float[Tensor, " batch"],
) -> Float[Tensor, "batch d d"]:
    """The Jacobian of the field that flow matching learns for a mixture, a symmetric matrix at each
    point.

    If all variances are s^2:  (a a' s^2 + b b') / q I + a b (a' b - a b') / q^2 Cov[m | z],  q =
    a^2 s^2 + b^2; else sum_k r_k (l_k I + c_k (g_k - sum_j r_j g_j)'),  c_k = a' m_k + l_k (z - a
    m_k),  g_k = -(z - a m_k) / q_k

    Args:
        schedule: Coefficients of the path.
        law: Of z_1.
        z: (batch, d).
        t: Scalar or (batch,), below 1 if a variance is zero.

    Returns:
        (batch, d, d).

    Derived in chapter 08.
    """
    r, gap, q = responsibilities(schedule, law, z, t)
    a, b, da, db = (
        part(t)[..., None] for part in (schedule.a, schedule.b, schedule.da, schedule.db)
    )
    rates = (a * da * law.variances + b * db) / q
    pulls = da[..., None] * law.means + rates[..., None] * gap
    scores = -gap / q[..., None]
    turns = scores - (r[..., None] * scores).sum(1, keepdim=True)
    return (r * rates).sum(1)[:, None, None] * torch.eye(
        z.shape[1], dtype=z.dtype, device=z.device
    ) + torch.einsum("bk,bki,bkj->bij", r, pulls, turns)


def midpoint_expansion_rate(
    distance: float, std: float, t: Float[Tensor, " time"]
) -> Float[Tensor, " time"]:
    """The top eigenvalue of the Jacobian halfway between two equal modes, on the straight path.

    (t s^2 - (1-t)) / q + t (1-t) Delta^2 / (4 q^2),  q = (1-t)^2 + t^2 s^2

    Args:
        distance: Delta of the modes.
        std: s of each.
        t: (time,).

    Returns:
        Rates (time,).

    Derived in chapter 08.
    """
    q = (1 - t) ** 2 + (t * std) ** 2
    return (t * std**2 - (1 - t)) / q + t * (1 - t) * distance**2 / (4 * q**2)


def largest_expansion_rate(distance: float, std: float) -> tuple[float, float]:
    """When and how much two modes pull neighbors apart most, max over t of `midpoint_expansion_rate`.

    Args:
        distance: Delta.
        std: s > 1e-4.

    Returns:
        The time and the rate.
    """
    t = 1 - torch.logspace(-5, 0, 20_001, dtype=torch.float64)
    rates = midpoint_expansion_rate(distance, std, t)
    return float(t[rates.argmax()]), float(rates.max())


def cubic_law(distance: float, std: float) -> float:
    """What `largest_expansion_rate` is for narrow modes, 9 / (64 sqrt 3) Delta^2 / s^3, reached at 1 - t =
    s / sqrt 3.

    Args:
        distance: Delta.
        std: s, small against 1 and Delta.

    Returns:
        The rate.
    """
    return 9 / (64 * math.sqrt(3)) * distance**2 / std**3
