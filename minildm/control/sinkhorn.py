"""Schroedinger bridges: Sinkhorn's algorithm couples two clouds, and its potentials steer one into
the other.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UserError
from .bridges import Mixture


@dataclass(frozen=True)
class Plan:
    """A coupling of two clouds and the potentials that make it, P_ij = a_i b_j exp((alpha_i +
    beta_j - C_ij)/epsilon).
    """

    coupling: Float[Tensor, "*batch n m"]
    alpha: Float[Tensor, "*batch n"]
    beta: Float[Tensor, "*batch m"]
    error: float  # of this coupling: sum of |row sum - a_i|, or of |column sum - b_j|, the largest of the batch
    rounds: int  # at the last epsilon, until the error was small enough


def half_squares(
    x: Float[Tensor, "*batch n d"], y: Float[Tensor, "*batch m d"]
) -> Float[Tensor, "*batch n m"]:
    """The least effort from each point to each other in time one, C_ij = |x_i - y_j|^2 / 2.

    Args:
        x: (..., n, d).
        y: (..., m, d).

    Returns:
        C (..., n, m).
    """
    return (x[..., :, None, :] - y[..., None, :, :]).square().sum(-1) / 2


def sweep(
    cost: Float[Tensor, "*batch n m"],
    log_a: Float[Tensor, "*batch n"],
    log_b: Float[Tensor, "*batch m"],
    alpha: Float[Tensor, "*batch n"],
    epsilon: float,
) -> tuple[Float[Tensor, "*batch m"], Float[Tensor, "*batch n"]]:
    """One round of Sinkhorn's algorithm: the beta that makes the columns right, then the alpha that makes the rows right.

    beta_j = -epsilon log sum_i a_i exp((alpha_i - C_ij)/epsilon); alpha_i = -epsilon log sum_j b_j exp((beta_j - C_ij)/epsilon)
    Args: `cost` C; logarithms of a and b; `alpha`; `epsilon`. Returns beta and the new alpha. Derived in chapter 04.
    Source: textbook.
    """
    beta = -epsilon * (log_a[..., :, None] + (alpha[..., :, None] - cost) / epsilon).logsumexp(-2)
    return beta, -epsilon * (log_b[..., None, :] + (beta[..., None, :] - cost) / epsilon).logsumexp(
        -1
    )


def check_problem(
    cost: Float[Tensor, "*batch n m"],
    a: Float[Tensor, "*#batch rows"],
    b: Float[Tensor, "*#batch columns"],
    epsilon: float,
) -> None:
    """Refuse costs and marginals that make no transport problem.

    Args: as of `sinkhorn`. Returns nothing. Raises UserError with what is wrong. Derived in chapter 04. Source: ours.
    """
    if not 0 < epsilon < math.inf:
        raise UserError(f"epsilon is {epsilon:g}: the entropy needs a finite weight above zero")
    if not cost.isfinite().all():
        raise UserError(
            "a cost is infinite or not a number: every pair of points needs a finite cost"
        )
    if cost.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise UserError(
            f"the costs are of {cost.shape[-2]} x {cost.shape[-1]} pairs, but there are {a.shape[-1]} x "
            f"{b.shape[-1]} weights: give one weight for each point"
        )
    if not ((a >= 0).all() and (b >= 0).all() and torch.allclose(a.sum(-1), b.sum(-1))):
        raise UserError(
            "the two clouds have different mass, or a negative one: make a and b >= 0, and sum to one"
        )


def marginal_error(
    coupling: Float[Tensor, "*batch n m"],
    a: Float[Tensor, "*batch n"],
    b: Float[Tensor, "*batch m"],
) -> float:
    """How far a coupling is from its marginals, max(sum_i |sum_j P_ij - a_i|, sum_j |sum_i P_ij -
    b_j|).

    Args:
        coupling: P (..., n, m).
        a: (..., n).
        b: (..., m).

    Returns:
        The largest of the batch.
    """
    rows, columns = (coupling.sum(-1) - a).abs().sum(-1), (coupling.sum(-2) - b).abs().sum(-1)
    return max(float(rows.max()), float(columns.max()))


def sinkhorn(
    cost: Float[Tensor, "*batch n m"],
    a: Float[Tensor, "*batch n"],
    b: Float[Tensor, "*batch m"],
    epsilon: float,
    tolerance: float = 1e-6,
    most: int = 20_000,
) -> Plan:
    """The coupling P of a and b with the least sum of P C + epsilon KL(P | a b), by Sinkhorn's
    algorithm on logarithms.

    It starts hot, at an epsilon as large as the costs, and halves it every 20 rounds: small
    epsilons alone converge slowly.

    Args:
        cost: C (..., n, m).
        a: (..., n) and `b` (..., m), >= 0, each with sum 1.
        epsilon: > 0, in units of the cost, g^2 for a bridge with noise g.
        tolerance: On the sums of |row sum - a_i| and of |column sum - b_j|.
        most: Rounds at most at the last epsilon.

    Returns:
        A `Plan`.

    Raises:
        UserError: When the costs, a or b make no problem, if `most` rounds do not reach the
            tolerance, or if the coupling misses it because the costs are not precise enough for so
            small an epsilon.
    """
    check_problem(cost, a, b, epsilon)
    log_a, log_b, alpha = a.log(), b.log(), torch.zeros_like(a)
    for k in range(math.ceil(math.log2(max(1.0, float(cost.max()) / epsilon))), 0, -1):
        for _ in range(20):
            _, alpha = sweep(cost, log_a, log_b, alpha, epsilon * 2**k)
    for rounds in range(1, most + 1):
        beta, better = sweep(cost, log_a, log_b, alpha, epsilon)
        error = float(
            (a * (((alpha - better) / epsilon).exp() - 1)).abs().sum(-1).max()
        )  # rows, with the old alpha
        if error <= tolerance:
            gain = (alpha[..., :, None] + beta[..., None, :] - cost) / epsilon
            coupling = (log_a[..., :, None] + log_b[..., None, :] + gain).exp()
            error = marginal_error(coupling, a, b)
            if error > tolerance:
                raise UserError(
                    f"the coupling is {error:.1e} away from its marginals, for in {cost.dtype} the costs are not "
                    f"precise enough: use float64, or raise epsilon (now {epsilon:g}) or tolerance (now "
                    f"{tolerance:g})"
                )
            return Plan(coupling, alpha, beta, error, rounds)
        alpha = better
    raise UserError(
        f"Sinkhorn is {error:.1e} away from its marginals after {most} rounds: raise epsilon (now {epsilon:g}), "
        f"tolerance (now {tolerance:g}) or most"
    )


def draw_pairs(
    coupling: Float[Tensor, "n m"], count: int, rng: torch.Generator
) -> tuple[Int[Tensor, " count"], Int[Tensor, " count"]]:
    """Draw pairs (i, j) with the probabilities of a coupling.

    Args:
        coupling: (n, m), >= 0.
        count: How many.
        rng: Generator of the random numbers.

    Returns:
        i and j, (count,) each.
    """
    flat = torch.multinomial(coupling.flatten(), count, replacement=True, generator=rng)
    return flat // coupling.shape[1], flat % coupling.shape[1]


def terminal_weight(
    plan: Plan, y: Float[Tensor, "m d"], b: Float[Tensor, " m"], g: float
) -> Mixture:
    """The weight psi = sum_j b_j exp(beta_j / g^2) delta(y_j) whose Doob transform is the
    Schroedinger bridge.

    With it h(x_i, 0) = exp(-alpha_i / g^2) / (2 pi g^2)^(d/2): alpha is the cost-to-go at the
    start, up to a constant.

    Args:
        plan: Of `half_squares` with epsilon = g^2.
        y: (m, d).
        b: (m,).

    Returns:
        A `Mixture` for `mixture_h`.

    Derived in chapter 04.
    """
    return Mixture(b.log() + plan.beta / g**2, y, torch.zeros_like(b))


def gaussian_covariance(s0: Tensor | float, s1: Tensor | float, g: float) -> Tensor:
    """Covariance of the two ends, in each coordinate, of the Schroedinger bridge from N(m0, s0^2 I)
    to N(m1, s1^2 I).

    k = (sqrt(g^4 + 4 s0^2 s1^2) - g^2) / 2: s0 s1, the optimal transport, for g = 0; and it goes to
    0 as g grows.

    Args:
        s0, s1: > 0.
        g: >= 0.

    Returns:
        k.

    Derived in chapter 04.
    """
    product = torch.as_tensor(s0, dtype=torch.float64) * s1
    return 2 * product**2 / ((g**4 + 4 * product**2).sqrt() + g**2)
