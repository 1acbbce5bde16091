"""Grids of time for solvers: even in time, even in log-SNR, or even in the law that a model was
trained with.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from .schedules import Schedule
from .time_sampling import TimeDistribution


def uniform_grid(steps: int, device: torch.device | str = "cpu") -> Float[Tensor, " time"]:
    """Times at equal distances, t_k = k / S.

    Args:
        steps: S.
        device: Device of the result.

    Returns:
        Times (S + 1,) from 0 to 1.
    """
    return torch.linspace(0, 1, steps + 1, device=device)


def log_snr_grid(schedule: Schedule, steps: int, reach: float = 8.0) -> Float[Tensor, " time"]:
    """Times between which the log-SNR rises by equal amounts, lambda(t_k) = -L + 2 L (k - 1)/(S -
    2), and both end points.

    The log-SNR of the ends is infinite: the first step goes from t = 0 to lambda = -L, the last
    from lambda = L to t = 1.

    Args:
        schedule: Coefficients of the path.
        steps: S, 3 or more.
        reach: L.

    Returns:
        Times (S + 1,) from 0 to 1.

    Derived in chapter 08. Source: DPM-Solver.
    """
    inner = schedule.from_log_snr(
        torch.linspace(-reach, reach, steps - 1, dtype=torch.float64)
    ).float()
    return torch.cat((torch.zeros(1), inner, torch.ones(1)))


def warped_grid(
    law: TimeDistribution, steps: int, device: torch.device | str = "cpu", start: float = 0.0
) -> Float[Tensor, " time"]:
    """Times between which a law of time has equal shares: short steps where training looked often.

    t_k = F^-1(v_0 + (1 - v_0) k / S)

    Args:
        law: The distribution.
        steps: S.
        device: Device of the result.
        start: v_0, the share of the law to leave out.

    Returns:
        Times (S + 1,), F^-1(v_0) to 1.

    Derived in chapter 08. Source: CDCD.
    """
    return law.warp(start + (1 - start) * uniform_grid(steps, device)).clamp(0, 1)
