"""Expansion rates: how fast the field of a mixture moves neighbors apart, in closed form.

`dynamics.jacobians` measures the rate of any other field.
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
    mixture: Mixture,
    z: Float[Tensor, "batch d"],
    t: Float[Tensor, ""] | Float[Tensor, " batch"],
) -> Float[Tensor, "batch d d"]:
    """The Jacobian of the field that flow matching learns for a mixture, a symmetric matrix.

    If all variances are s^2, with q = a^2 s^2 + b^2:
    (a a' s^2 + b b') / q I + a b (a' b - a b') / q^2 Cov[m | z]
    else sum_k r_k (l_k I + c_k (g_k - sum_j r_j g_j)') with
    c_k = a' m_k + l_k (z - a m_k),  g_k = -(z - a m_k) / q_k,  l_k = (a a' v_k + b b') / q_k

    Args:
        schedule: Coefficients of the path.
        mixture: Distribution of z_1.
        z: Points (batch, d).
        t: Time, a scalar or (batch,), below 1 if a variance is zero.

    Returns:
        One matrix (batch, d, d) for each point.

    Derived in chapter 08.
    """
    r, gap, q = responsibilities(schedule, mixture, z, t)
    a = schedule.a(t)[..., None]
    b = schedule.b(t)[..., None]
    da = schedule.da(t)[..., None]
    db = schedule.db(t)[..., None]
    rates = (a * da * mixture.variances + b * db) / q
    velocities = da[..., None] * mixture.means + rates[..., None] * gap
    scores = -gap / q[..., None]
    turns = scores - (r[..., None] * scores).sum(1, keepdim=True)
    unit = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    shrinking = (r * rates).sum(1)[:, None, None] * unit
    return shrinking + torch.einsum("bk,bki,bkj->bij", r, velocities, turns)


def midpoint_expansion_rate(
    distance: float, std: float, t: Float[Tensor, " time"]
) -> Float[Tensor, " time"]:
    """The top eigenvalue of the Jacobian halfway between two equal modes, on the straight path.

    (t s^2 - (1-t)) / q + t (1-t) Delta^2 / (4 q^2),  q = (1-t)^2 + t^2 s^2

    Args:
        distance: Delta, between the modes.
        std: s, of each mode.
        t: Times (time,).

    Returns:
        Rates (time,), per unit of time.

    Derived in chapter 08.
    """
    q = (1 - t) ** 2 + (t * std) ** 2
    return (t * std**2 - (1 - t)) / q + t * (1 - t) * distance**2 / (4 * q**2)


def largest_expansion_rate(distance: float, std: float) -> tuple[float, float]:
    """When and how fast two modes move neighbors apart most, max_t `midpoint_expansion_rate`.

    Args:
        distance: Delta, between the modes.
        std: s, of each mode, larger than 1e-4.

    Returns:
        The time and the rate.
    """
    t = 1 - torch.logspace(-5, 0, 20_001, dtype=torch.float64)
    rates = midpoint_expansion_rate(distance, std, t)
    return float(t[rates.argmax()]), float(rates.max())


def narrow_expansion_rate(distance: float, std: float) -> float:
    """The limit of `largest_expansion_rate` for narrow modes, reached at 1 - t = s / sqrt 3.

    9 / (64 sqrt 3) Delta^2 / s^3

    Args:
        distance: Delta, between the modes.
        std: s, of each mode, small against 1 and Delta.

    Returns:
        The rate.
    """
    return 9 / (64 * math.sqrt(3)) * distance**2 / std**3
