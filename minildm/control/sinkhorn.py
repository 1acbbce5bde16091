"""Schroedinger bridges: Sinkhorn's algorithm, whose potentials steer one cloud into another."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UserError
from .bridges import Mixture


@dataclass(frozen=True)
class Plan:
    """A coupling of two clouds and the potentials that make it.

    P_ij = a_i b_j exp((alpha_i + beta_j - C_ij)/epsilon)
    """

    coupling: Float[Tensor, "*batch n m"]
    alpha: Float[Tensor, "*batch n"]
    beta: Float[Tensor, "*batch m"]
    error: float  # of this coupling, by `marginal_error`
    rounds: int  # at the last epsilon, until the error was small enough


def half_squares(
    x: Float[Tensor, "*batch n d"], y: Float[Tensor, "*batch m d"]
) -> Float[Tensor, "*batch n m"]:
    """The least effort from each point to each other in time one, C_ij = |x_i - y_j|^2 / 2.

    Args:
        x: Points (..., n, d).
        y: Points (..., m, d).

    Returns:
        Costs C (..., n, m).
    """
    return (x[..., :, None, :] - y[..., None, :, :]).square().sum(-1) / 2


def sweep(
    cost: Float[Tensor, "*batch n m"],
    log_a: Float[Tensor, "*batch n"],
    log_b: Float[Tensor, "*batch m"],
    alpha: Float[Tensor, "*batch n"],
    epsilon: float,
) -> tuple[Float[Tensor, "*batch m"], Float[Tensor, "*batch n"]]:
    """One round of Sinkhorn's algorithm: first beta makes the columns right, then alpha the rows.

    beta_j = -epsilon log sum_i a_i exp((alpha_i - C_ij)/epsilon)
    alpha_i = -epsilon log sum_j b_j exp((beta_j - C_ij)/epsilon)

    Args:
        cost: Costs C (..., n, m).
        log_a: Logarithm of a (..., n).
        log_b: Logarithm of b (..., m).
        alpha: Potential (..., n) of the last round.
        epsilon: Weight > 0 of the entropy.

    Returns:
        beta (..., m) and the new alpha (..., n).

    Derived in chapter 04.
    """
    by_row = log_a[..., :, None] + (alpha[..., :, None] - cost) / epsilon
    beta = -epsilon * by_row.logsumexp(-2)
    by_column = log_b[..., None, :] + (beta[..., None, :] - cost) / epsilon
    return beta, -epsilon * by_column.logsumexp(-1)


def check_problem(
    cost: Float[Tensor, "*batch n m"],
    a: Float[Tensor, "*#batch rows"],
    b: Float[Tensor, "*#batch columns"],
    epsilon: float,
) -> None:
    """Refuse costs and marginals that make no transport problem.

    Args:
        cost: Costs (..., n, m).
        a: Masses (..., n).
        b: Masses (..., m).
        epsilon: Weight of the entropy.

    Raises:
        UserError: With what is wrong.
    """
    if not 0 < epsilon < math.inf:
        raise UserError(f"epsilon is {epsilon:g}: the entropy needs a finite weight above zero")
    if not cost.isfinite().all():
        raise UserError(
            "a cost is infinite or not a number: every pair of points needs a finite cost"
        )
    if cost.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise UserError(
            f"the costs are of {cost.shape[-2]} x {cost.shape[-1]} pairs, but there are "
            f"{a.shape[-1]} x {b.shape[-1]} weights: give one weight for each point"
        )
    if not ((a >= 0).all() and (b >= 0).all() and torch.allclose(a.sum(-1), b.sum(-1))):
        raise UserError(
            "the two clouds have different mass, or a negative one: "
            "make a and b >= 0, and sum to one"
        )


def marginal_error(
    coupling: Float[Tensor, "*batch n m"],
    a: Float[Tensor, "*batch n"],
    b: Float[Tensor, "*batch m"],
) -> float:
    """How far a coupling is from its marginals.

    max(sum_i |sum_j P_ij - a_i|, sum_j |sum_i P_ij - b_j|)

    Args:
        coupling: Coupling P (..., n, m).
        a: Masses (..., n).
        b: Masses (..., m).

    Returns:
        The largest of the batch.
    """
    rows = (coupling.sum(-1) - a).abs().sum(-1)
    columns = (coupling.sum(-2) - b).abs().sum(-1)
    return max(float(rows.max()), float(columns.max()))


def sinkhorn(
    cost: Float[Tensor, "*batch n m"],
    a: Float[Tensor, "*batch n"],
    b: Float[Tensor, "*batch m"],
    epsilon: float,
    tolerance: float = 1e-6,
    max_rounds: int = 20_000,
) -> Plan:
    """The coupling P of a and b with the least sum of P C + epsilon KL(P | a b).

    By Sinkhorn's algorithm on logarithms. It starts at an epsilon as large as the costs, and halves
    it every 20 rounds, because small epsilons alone converge slowly.

    Args:
        cost: Costs C (..., n, m).
        a: Masses (..., n) >= 0 with sum 1.
        b: Masses (..., m) >= 0 with sum 1.
        epsilon: Weight > 0 of the entropy, in units of the cost: g^2 for a bridge with noise g.
        tolerance: Largest `marginal_error`.
        max_rounds: Largest number of rounds at the last epsilon.

    Returns:
        A `Plan`.

    Raises:
        UserError: When the costs, a or b make no problem, if the rounds do not reach the tolerance,
            or if the coupling does not meet it because the costs are not precise enough for so
            small an epsilon.
    """
    check_problem(cost, a, b, epsilon)
    log_a, log_b = a.log(), b.log()
    alpha = torch.zeros_like(a)
    error = math.inf
    for k in range(math.ceil(math.log2(max(1.0, float(cost.max()) / epsilon))), 0, -1):
        for _ in range(20):
            _, alpha = sweep(cost, log_a, log_b, alpha, epsilon * 2**k)
    for rounds in range(1, max_rounds + 1):
        beta, better = sweep(cost, log_a, log_b, alpha, epsilon)
        wrong = a * (((alpha - better) / epsilon).exp() - 1)  # of the rows, with the old alpha
        error = float(wrong.abs().sum(-1).max())
        if error <= tolerance:
            gain = (alpha[..., :, None] + beta[..., None, :] - cost) / epsilon
            coupling = (log_a[..., :, None] + log_b[..., None, :] + gain).exp()
            error = marginal_error(coupling, a, b)
            if error > tolerance:
                raise UserError(
                    f"the coupling is {error:.1e} away from its marginals, because in {cost.dtype} "
                    "the costs are not precise enough: use float64, or raise epsilon "
                    f"(now {epsilon:g}) or tolerance (now {tolerance:g})"
                )
            return Plan(coupling, alpha, beta, error, rounds)
        alpha = better
    raise UserError(
        f"Sinkhorn is {error:.1e} away from its marginals after {max_rounds} rounds: "
        f"raise epsilon (now {epsilon:g}), tolerance (now {tolerance:g}) or max_rounds"
    )


def draw_pairs(
    coupling: Float[Tensor, "n m"], count: int, rng: torch.Generator
) -> tuple[Int[Tensor, " count"], Int[Tensor, " count"]]:
    """Draw pairs (i, j) with the probabilities of a coupling.

    Args:
        coupling: Probabilities (n, m), not necessarily with sum 1.
        count: Number of pairs.
        rng: Generator of the random numbers.

    Returns:
        The indices i and j, (count,) each.
    """
    flat = torch.multinomial(coupling.flatten(), count, replacement=True, generator=rng)
    return flat // coupling.shape[1], flat % coupling.shape[1]


def terminal_weight(
    plan: Plan, y: Float[Tensor, "m d"], b: Float[Tensor, " m"], g: float
) -> Mixture:
    """The terminal weight whose Doob transform is the Schroedinger bridge.

    psi = sum_j b_j exp(beta_j / g^2) delta(y_j)

    With it h(x_i, 0) = exp(-alpha_i / g^2) / (2 pi g^2)^(d/2), so that alpha is the cost-to-go at
    the start, up to a constant.

    Args:
        plan: The coupling for the costs of `half_squares` with epsilon = g^2.
        y: Points (m, d).
        b: Their masses (m,).
        g: Noise > 0.

    Returns:
        A `Mixture` for `mixture_h`.

    Derived in chapter 04.
    """
    return Mixture(b.log() + plan.beta / g**2, y, torch.zeros_like(b))


def gaussian_covariance(s0: Tensor | float, s1: Tensor | float, g: float) -> Tensor:
    """Covariance of the two ends of the Schroedinger bridge from N(m0, s0^2 I) to N(m1, s1^2 I).

    k = (sqrt(g^4 + 4 s0^2 s1^2) - g^2) / 2 in each coordinate

    It is s0 s1, that of optimal transport, for g = 0, and goes to 0 as g grows.

    Args:
        s0: Standard deviation > 0 at the start.
        s1: Standard deviation > 0 at the end.
        g: Noise >= 0.

    Returns:
        The covariance k.

    Derived in chapter 04.
    """
    product = torch.as_tensor(s0, dtype=torch.float64) * s1
    return 2 * product**2 / ((g**4 + 4 * product**2).sqrt() + g**2)
