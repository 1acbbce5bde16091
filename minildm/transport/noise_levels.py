"""Staggered arrivals: every position of a text has a time of its own, and the front ones may arrive
before the rear ones leave.

tau_i(t) = clip((1 + L) t - L x_i, 0, 1),  x_i = (rank of i among the moving positions) / (their
number - 1)

With lag L = 0 all positions travel together. With lag L a position is under way for 1 / (1 + L) of
the whole, and a window of about n / L positions moves through the text. A position that does not
move is known: its time is 1 from the start.

All windows that a text meets at times t, t + 1 / (1 + L), ... can be looked at side by side, beside
the text itself: who stands in a window sees the words of windows in front of it and the noisy
positions of its own.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def noise_levels(
    t: Float[Tensor, " batch"], lag: Float[Tensor, " batch"], moving: Bool[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    """The time of each position, tau_i(t) = clip((1 + L) t - L x_i, 0, 1), and 1 where it does not
    move.

    Args:
        t: (batch,).
        lag: L >= 0, (batch,).
        moving: (batch, n).

    Returns:
        tau (batch, n).

    Source: ours; times of their own as in Diffusion Forcing 2407.01392.
    """
    rank, last = moving.cumsum(1) - 1, (moving.sum(1, keepdim=True) - 1).clamp(min=1)
    tau = ((1 + lag[:, None]) * t[:, None] - lag[:, None] * rank / last).clamp(0, 1)
    return tau.masked_fill(~moving, 1.0)


def blocks(
    t: Float[Tensor, " batch"], lag: Float[Tensor, " batch"], moving: Bool[Tensor, "batch n"]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch n"]]:
    """The time of each position in its window, and the number of the window, counted from the
    front.

    v_i = (1 + L) t - L x_i,  window_i = -floor(v_i),  tau_i = v_i - floor(v_i) so that window k is
    what moves at time t + k / (1 + L). Where a position does not move: window -inf, time 1.

    Args:
        t: (batch,).
        lag: L >= 0, (batch,).
        moving: (batch, n).

    Returns:
        tau and windows (batch, n).

    Derived in chapter 13. Source: ours; texts beside noisy texts as in block diffusion 2503.09573.
    """
    rank, last = moving.cumsum(1) - 1, (moving.sum(1, keepdim=True) - 1).clamp(min=1)
    v = (1 + lag[:, None]) * t[:, None] - lag[:, None] * rank / last
    return (v - v.floor()).masked_fill(~moving, 1.0), (-v.floor()).masked_fill(~moving, -torch.inf)


def block_order(
    t: Float[Tensor, "batch n"], known: Bool[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    """The windows of a text that is being written: what is known from the start, then the words
    written, then all others.

    Args:
        t, known: (batch, n).

    Returns:
        -inf, 0 and 1 (batch, n).
    """
    return (t < 1).float().masked_fill(known, -torch.inf)


def attention_mask(
    t: Float[Tensor, "batch n"],
    window: Float[Tensor, "batch n"],
    positions: Int[Tensor, " n"],
    first: int = 0,
) -> Bool[Tensor, "batch rows n"]:
    """Who sees whom, [i, j]: i sees j. All see themselves.

    Words, t = 1, are seen from windows behind them, and by words of their window and behind it if
    they stand to the right. Who is on the way, 0 < t < 1, is seen from its window alone, and who
    has not left, t = 0, by nobody.

    Args:
        t: (batch, n).
        window: (batch, n), in any order of its numbers.
        positions: (n,), where rows stand.
        first: row that is asked.

    Returns:
        (batch, n - first, n).

    Derived in chapter 13.
    """
    word, own, other = (t >= 1)[:, first:, None], window[:, first:, None], window[:, None]
    left = positions <= positions[first:, None]
    words = torch.where(word, left & (other <= own), other < own)
    under_way = ~word & (other == own) & (t > 0)[:, None]
    itself = torch.eye(len(positions), dtype=torch.bool, device=t.device)[first:]
    return torch.where((t >= 1)[:, None], words, under_way) | itself


def gaps(
    t: Float[Tensor, "batch n"], sees: Bool[Tensor, "batch rows n"], positions: Int[Tensor, " n"]
) -> Int[Tensor, "batch rows"]:
    """How many of the positions before it show no word to a row.

    Args:
        t: (batch, n); who `sees` whom, (batch, rows, n), the last of n.
        positions: (n,).

    Returns:
        (batch, rows).
    """
    own = positions[-sees.shape[1] :]
    shown = sees & (t >= 1)[:, None] & (positions < own[:, None])
    return own - shown.sum(-1)


def offset_grid(
    steps: int, lag: float, moving: Bool[Tensor, "batch n"], start: float = 0.0
) -> Float[Tensor, "time batch n one"]:
    """Times of all positions for solvers, at equal distances in t, from a common start: t_0 + (1 -
    t_0) tau_i(k / S).

    Args:
        steps: S.
        lag: L >= 0.
        moving: (batch, n).
        start: t_0.

    Returns:
        Times (S + 1, batch, n, 1), up to 1.
    """
    batch = len(moving)
    t = torch.linspace(0, 1, steps + 1, device=moving.device)
    lags = torch.full((batch,), lag, device=moving.device)
    tau = torch.stack([noise_levels(moment.expand(batch), lags, moving) for moment in t])
    return start + (1 - start) * tau[..., None]
