"""Staggered arrivals: every position of a text has a time of its own, and the front ones may arrive before the rear ones leave.

    tau_i(t) = clip((1 + L) t - L x_i, 0, 1),  x_i = (rank of i among the moving positions) / (their number - 1)

With lag L = 0 all positions travel together. With lag L a position is under way for 1 / (1 + L) of the whole, and a window
of about n / L positions moves through the text. A position that does not move is known: its time is 1 from the start.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def local_times(t: Float[Tensor, " batch"], lag: Float[Tensor, " batch"],
                moving: Bool[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
    """The time of each position, tau_i(t) = clip((1 + L) t - L x_i, 0, 1), and 1 where it does not move.

    Args: `t` (batch,); `lag` L >= 0, (batch,); `moving` (batch, n). Returns tau (batch, n).
    Derived in chapter 13. Source: ours; times of their own as in Diffusion Forcing 2407.01392.
    """
    rank, last = moving.cumsum(1) - 1, (moving.sum(1, keepdim=True) - 1).clamp(min=1)
    tau = ((1 + lag[:, None]) * t[:, None] - lag[:, None] * rank / last).clamp(0, 1)
    return tau.masked_fill(~moving, 1.0)


def staggered_grid(steps: int, lag: float, moving: Bool[Tensor, "batch n"],
                   start: float = 0.0) -> Float[Tensor, "time batch n one"]:
    """Times of all positions for solvers, at equal distances in t, from a common start: t_0 + (1 - t_0) tau_i(k / S).

    Args: `steps` S; `lag` L >= 0; `moving` (batch, n); `start` t_0. Returns times (S + 1, batch, n, 1), up to 1.
    Derived in chapter 13. Source: ours.
    """
    batch = len(moving)
    t = torch.linspace(0, 1, steps + 1, device=moving.device)
    lags = torch.full((batch,), lag, device=moving.device)
    tau = torch.stack([local_times(moment.expand(batch), lags, moving) for moment in t])
    return start + (1 - start) * tau[..., None]
