"""Grids of time for solvers: uniform in time, in log-SNR, or in the training distribution."""

import torch
from jaxtyping import Float
from torch import Tensor

from .schedules import Schedule
from .time_sampling import TimeDistribution


def uniform_grid(steps: int, device: torch.device | str = "cpu") -> Float[Tensor, " time"]:
    """Times at equal distances, t_k = k / S.

    Args:
        steps: S, the number of solver steps.
        device: Device of the result.

    Returns:
        Times (S + 1,) from 0 to 1.
    """
    return torch.linspace(0, 1, steps + 1, device=device)


def log_snr_grid(schedule: Schedule, steps: int, reach: float = 8.0) -> Float[Tensor, " time"]:
    """Times between which the log-SNR rises by equal amounts, and both end points.

    lambda(t_k) = -L + 2 L (k - 1)/(S - 2)

    The log-SNR of the ends is infinite: the first step goes from t = 0 to lambda = -L, the last
    from lambda = L to t = 1.

    Args:
        schedule: Coefficients of the path.
        steps: S, the number of solver steps, 3 or more.
        reach: L, the largest log-SNR between the ends.

    Returns:
        Times (S + 1,) from 0 to 1.

    Derived in chapter 08. Source: DPM-Solver.
    """
    log_snr = torch.linspace(-reach, reach, steps - 1, dtype=torch.float64)
    inner = schedule.from_log_snr(log_snr).float()
    return torch.cat((torch.zeros(1), inner, torch.ones(1)))


def warped_grid(
    distribution: TimeDistribution,
    steps: int,
    device: torch.device | str = "cpu",
    start: float = 0.0,
) -> Float[Tensor, " time"]:
    """Times between which a distribution has equal mass: short steps where training drew often.

    t_k = F^-1(v_0 + (1 - v_0) k / S)

    Args:
        distribution: Of time.
        steps: S, the number of solver steps.
        device: Device of the result.
        start: v_0, the fraction of the distribution to leave out.

    Returns:
        Times (S + 1,), from F^-1(v_0) to 1.

    Derived in chapter 08. Source: CDCD.
    """
    v = start + (1 - start) * uniform_grid(steps, device)
    return distribution.warp(v).clamp(0, 1)
