"""Couplings: which noise goes with which data.

All of them have the same two marginals; they differ in how much their paths cross.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..control.sinkhorn import half_squares
from ..dynamics.records import Field
from ..dynamics.solvers import Step, integrate
from ..errors import UserError

# (z_0, z_1, rng) -> pairs z_0, z_1
Coupling = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
# (count, rng) -> z_0, z_1, (count, ...) each
Pairs = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
State = Float[Tensor, "_ ..."]


def assign(cost: np.ndarray) -> np.ndarray:
    """The permutation with the least total cost, argmin_s sum_i C_{i s(i)}, in a time of n^3.

    Args:
        cost: C (n, n), finite.

    Returns:
        s (n,), the column of each row.

    Derived in chapter 06. Source: Jonker and Volgenant.
    """
    # scipy.optimize has no types, and takes a second to import
    optimize: Any = import_module("scipy.optimize")
    return optimize.linear_sum_assignment(cost)[1]


def check_pairs(z0: Tensor, z1: Tensor) -> None:
    """Refuse noise and data that cannot be paired one to one.

    Args:
        z0: Noise, of any shape.
        z1: Data, of any shape.

    Raises:
        UserError: When the shapes differ, with both of them.
    """
    if z0.shape != z1.shape:
        raise UserError(
            f"noise of shape {tuple(z0.shape)} cannot be paired with data of shape "
            f"{tuple(z1.shape)}: give as many points of noise as of data, of one dimension"
        )


def independent(z0: State, z1: State, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Noise and data as they come, p(z_0, z_1) = p(z_0) p(z_1).

    Args:
        z0: Noise (batch, ...).
        z1: Data (batch, ...).
        rng: Not used.

    Returns:
        Both as they were.

    Raises:
        UserError: When their shapes differ.
    """
    check_pairs(z0, z1)
    return z0, z1


def optimal(z0: State, z1: State, rng: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """The pairing of a batch with the least cost, min over permutations s.

    sum_i |z_1i - z_0s(i)|^2 / 2

    For the batch it is exact; for the two distributions it is an estimate that gets better as the
    batch grows.

    Args:
        z0: Noise (batch, ...).
        z1: Data (batch, ...).
        rng: Not used.

    Returns:
        The noise in a new order, and the data as they were.

    Raises:
        UserError: When their shapes differ or a number is not finite.

    Derived in chapter 06. Source: OT-CFM.
    """
    check_pairs(z0, z1)
    cost = half_squares(z1.flatten(1), z0.flatten(1))
    if not cost.isfinite().all():
        raise UserError("points cannot be paired whose distance is not finite: check the data")
    order = torch.as_tensor(assign(cost.cpu().double().numpy()))
    return z0[order.to(z0.device)], z1


def coupled(
    data: Callable[[int, torch.Generator], Tensor], coupling: Coupling = independent
) -> Pairs:
    """Pairs for training: fresh noise and fresh data in every batch, coupled.

    Args:
        data: (count, rng) -> points (count, ...).
        coupling: Which noise goes with which data.

    Returns:
        A function that draws `count` pairs.

    Derived in chapter 06.
    """

    def draw(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        z1 = data(count, rng)
        z0 = torch.randn(z1.shape, generator=rng, dtype=z1.dtype, device=z1.device)
        return coupling(z0, z1, rng)

    return draw


@torch.no_grad()
def reflow(
    field: Field, z0: State, times: Float[Tensor, " time"], method: str | Step = "rk4"
) -> Pairs:
    """Pairs made by a trained field: each noise goes with the data that the flow carries it to.

    z_1 = z_0 + int u dt

    Flows do not cross, so the straight paths between these pairs cross less, and a field learned
    from them is straighter.

    Args:
        field: u.
        z0: Noise (batch, ...).
        times: Grid of the solver (time,), from 0 to 1.
        method: Solver, as `integrate` takes it.

    Returns:
        A function that draws `count` of these pairs, with replacement.

    Source: Rectified Flow.
    """
    z1 = integrate(field, z0, times, method, record=False).states[-1]

    def draw(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        i = torch.randint(len(z0), (count,), generator=rng, device=z0.device)
        return z0[i], z1[i]

    return draw
