"""Noise levels a position: the first positions of a text may be finished before the last begin.

    tau_i(t) = clip((1 + L) t - L x_i, 0, 1)
    x_i = (rank of i among the moving positions) / (their number - 1)

With offset L = 0 all positions move together. With offset L a position is under way for 1 / (1 + L)
of the whole, and a block of about n / L positions moves through the text. A position that does not
move is observed: its time is 1 from the start.

All blocks that a text meets at times t, t + 1 / (1 + L), ... can be evaluated side by side, beside
the text itself: a position of a block attends to the tokens of the blocks before it and to the
noisy positions of its own.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def linear_times(
    t: Float[Tensor, " batch"], offset: Float[Tensor, " batch"], moving: Bool[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    """(1 + L) t - L x_i, which is below 0 before a position begins and above 1 when it is finished.

    Args:
        t: Time of the text (batch,).
        offset: L >= 0, (batch,).
        moving: Which positions move, (batch, n).

    Returns:
        (batch, n).
    """
    rank = moving.cumsum(1) - 1
    last = (moving.sum(1, keepdim=True) - 1).clamp(min=1)
    return (1 + offset[:, None]) * t[:, None] - offset[:, None] * rank / last


def noise_levels(
    t: Float[Tensor, " batch"], offset: Float[Tensor, " batch"], moving: Bool[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    """The time of each position, tau_i(t) = clip((1 + L) t - L x_i, 0, 1), and 1 if it is observed.

    Args:
        t: Time of the text (batch,).
        offset: L >= 0, (batch,).
        moving: Which positions move, (batch, n).

    Returns:
        tau (batch, n).

    Source: Diffusion Forcing 2407.01392, for a time a position.
    """
    return linear_times(t, offset, moving).clamp(0, 1).masked_fill(~moving, 1.0)


def blocks(
    t: Float[Tensor, " batch"], offset: Float[Tensor, " batch"], moving: Bool[Tensor, "batch n"]
) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch n"]]:
    """The time of each position in its block, and the number of the block, counted from the front.

    v_i = (1 + L) t - L x_i,  block_i = -floor(v_i),  tau_i = v_i - floor(v_i)

    Block k is what moves at time t + k / (1 + L). An observed position has block -inf and time 1.

    Args:
        t: Time of the text (batch,).
        offset: L >= 0, (batch,).
        moving: Which positions move, (batch, n).

    Returns:
        tau and the numbers of the blocks, (batch, n).

    Derived in chapter 13. Source: block diffusion 2503.09573, for texts beside noisy texts.
    """
    v = linear_times(t, offset, moving)
    tau = (v - v.floor()).masked_fill(~moving, 1.0)
    return tau, (-v.floor()).masked_fill(~moving, -torch.inf)


def block_order(
    t: Float[Tensor, "batch n"], observed: Bool[Tensor, "batch n"]
) -> Float[Tensor, "batch n"]:
    """The blocks of a text in progress: observed tokens, then decoded ones, then the rest.

    Args:
        t: Time of each position (batch, n).
        observed: Which tokens are given (batch, n).

    Returns:
        -inf, 0 and 1, (batch, n).
    """
    return (t < 1).float().masked_fill(observed, -torch.inf)


def attention_mask(
    t: Float[Tensor, "batch n"],
    block: Float[Tensor, "batch n"],
    positions: Int[Tensor, " n"],
    first: int = 0,
) -> Bool[Tensor, "batch rows n"]:
    """Which row attends to which, [i, j]: i reads j. Every row reads itself.

    A token, t = 1, is read from later blocks, and by tokens of its own or a later block that stand
    to the right of it. A position under way, 0 < t < 1, is read from its own block alone, and one
    that has not begun, t = 0, by no other.

    Args:
        t: Time of each row (batch, n).
        block: Number of its block (batch, n).
        positions: Where the rows stand (n,), in tokens.
        first: The first row that reads.

    Returns:
        (batch, n - first, n).

    Derived in chapter 13.
    """
    token = (t >= 1)[:, first:, None]
    own = block[:, first:, None]
    other = block[:, None]
    left = positions <= positions[first:, None]
    reads_token = torch.where(token, left & (other <= own), other < own)
    reads_noisy = ~token & (other == own) & (t > 0)[:, None]
    itself = torch.eye(len(positions), dtype=torch.bool, device=t.device)[first:]
    return torch.where((t >= 1)[:, None], reads_token, reads_noisy) | itself


def gaps(
    t: Float[Tensor, "batch n"],
    attention_mask: Bool[Tensor, "batch rows n"],
    positions: Int[Tensor, " n"],
) -> Int[Tensor, "batch rows"]:
    """How many of the positions before it show no token to a row.

    Args:
        t: Time of each row (batch, n).
        attention_mask: Which rows the last rows of n read, (batch, rows, n).
        positions: Where the rows stand (n,), in tokens.

    Returns:
        Numbers of positions (batch, rows).
    """
    own = positions[-attention_mask.shape[1] :]
    shown = attention_mask & (t >= 1)[:, None] & (positions < own[:, None])
    return own - shown.sum(-1)


def offset_grid(
    steps: int, offset: float, moving: Bool[Tensor, "batch n"], start: float = 0.0
) -> Float[Tensor, "time batch n one"]:
    """Times of all positions for solvers, at equal distances in t: t_0 + (1 - t_0) tau_i(k / S).

    Args:
        steps: S, the number of solver steps.
        offset: L >= 0.
        moving: Which positions move, (batch, n).
        start: t_0, the time of all moving positions at the start.

    Returns:
        Times (S + 1, batch, n, 1), up to 1.
    """
    batch = len(moving)
    offsets = torch.full((batch,), offset, device=moving.device)
    moments = torch.linspace(0, 1, steps + 1, device=moving.device)
    tau = torch.stack([noise_levels(t.expand(batch), offsets, moving) for t in moments])
    return start + (1 - start) * tau[..., None]
