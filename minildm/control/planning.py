"""Plans from one start: shooting from a guessed costate, and transcription from a guessed path."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, hessian, jacrev, vmap

from ..dynamics.jacobians import gradient
from ..dynamics.linalg import block_diag, eigh, norm, solve_unchecked
from ..dynamics.records import Trajectory
from ..dynamics.solvers import integrate, rk4
from ..errors import UserError
from .adjoint import final_costate, hamiltonian
from .feedback import Rollout, interval_cost
from .hjb import best_control
from .systems import System

Found = TypeVar("Found")


@dataclass
class Plan:
    """A path from one start (the batch is 1) that meets the conditions of an optimum."""

    run: Rollout
    costates: Float[Tensor, "time 1 state"]
    steps: int  # steps of the method that it took


def extremal(
    system: System,
    start: Float[Tensor, "batch state"],
    costate: Float[Tensor, "batch state"],
    times: Float[Tensor, " time"],
) -> Float[Tensor, "time batch both"]:
    """The path of state and costate together under the best control, from p(0).

    dz/dt = dH/dp,  dp/dt = -dH/dz

    Args:
        system: The controlled system.
        start: State (batch, state) at the first time.
        costate: Costate p(0) (batch, state).
        times: Times (time,).

    Returns:
        (z, p) side by side, (time, batch, 2 state).
    """

    def field(both: Tensor, t: Tensor) -> Tensor:
        z, p = both.chunk(2, dim=-1)
        u = best_control(system, z, p, t)
        slope = gradient(lambda z: hamiltonian(system, z, u, p, t), z)
        return torch.cat((system.plant(z, u, t), -slope), dim=-1)

    return integrate(field, torch.cat((start, costate), dim=-1), times, "rk4").states


def backtrack(
    at: Tensor,
    move: Tensor,
    evaluate: Callable[[Tensor], Found],
    merit: Callable[[Found], Tensor],
    bound: Tensor,
) -> tuple[Tensor, Found]:
    """A line search: halve a step until the merit where it ends is no larger than the bound.

    Args:
        at: Where the step begins.
        move: The whole step.
        evaluate: What is computed at a point.
        merit: The merit of what was found there.
        bound: Largest merit that is accepted.

    Returns:
        The point where the step ends, and what was found there.
    """
    fraction = 1.0
    while not merit(found := evaluate(at + fraction * move)) <= bound and fraction > 1e-6:
        fraction /= 2
    return at + fraction * move, found


def shoot(
    system: System,
    start: Float[Tensor, " state"],
    times: Float[Tensor, " time"],
    costate: Float[Tensor, " state"],
    max_steps: int = 50,
) -> Plan:
    """Single shooting: find the p(0) whose path ends with p(1) = grad Phi(z_1).

    By Newton steps that never raise the terminal error |p(1) - grad Phi(z_1)|.

    Args:
        system: The controlled system, its plant linear and its cost quadratic in u.
        start: State (state,) at the first time.
        times: Times (time,).
        costate: Guess of p(0), (state,).
        max_steps: Largest number of Newton steps.

    Returns:
        A `Plan` whose controls are the means over the ends of their intervals.

    Raises:
        UserError: When Newton's method does not arrive.
    """
    n = system.state

    def errors(costates: Tensor) -> Tensor:
        """The terminal error of each guess of p(0)."""
        both = extremal(system, start.expand(len(costates), -1), costates, times)[-1]
        z, p = both.chunk(2, dim=-1)
        return p - final_costate(system, z)

    def slopes(costate: Tensor) -> Tensor:
        """Row i is the derivative of error i, from one guess for each row and one backward pass."""
        guesses = costate.expand(n, -1).clone().requires_grad_()
        return torch.autograd.grad(errors(guesses).diagonal().sum(), guesses)[0]

    p0 = costate[None]
    error = errors(p0)
    for steps in range(max_steps + 1):
        if norm(error) < 1e-9 * (1 + norm(p0)):
            z, p = extremal(system, start[None], p0, times).chunk(2, dim=-1)
            u = torch.stack([best_control(system, z[k], p[k], t) for k, t in enumerate(times)])
            return Plan(Rollout(Trajectory(times, z), (u[1:] + u[:-1]) / 2), p, steps)
        move = -solve_unchecked(slopes(p0), error[0])[None]
        p0, error = backtrack(p0, move, errors, norm, norm(error))
    raise UserError(
        f"shooting still has a terminal error of {norm(error):.1e} after {max_steps} steps: "
        "begin nearer to the costate, and let every control have a cost"
    )


def convex(H: Float[Tensor, "... n n"]) -> Float[Tensor, "... n n"]:
    """The nearest positive semidefinite matrix: negative eigenvalues become 0."""
    values, vectors = eigh(H)
    return vectors * values.clamp(min=0)[..., None, :] @ vectors.mT


def kkt(
    H: Float[Tensor, "w w"],
    C: Float[Tensor, "c w"],
    slope: Float[Tensor, " w"],
    defects: Float[Tensor, " c"],
) -> tuple[Tensor, Tensor]:
    """The minimum of slope . dw + dw'H dw / 2 under C dw = -defects, by Lagrange's conditions.

    [[H, -C'], [C, 0]] (dw, p) = (-slope, -defects)

    Args:
        H: Second derivative (w, w) of the cost.
        C: Derivative (c, w) of the constraints.
        slope: Derivative (w,) of the cost.
        defects: Violation (c,) of the constraints.

    Returns:
        The move dw (w,) and the multipliers p (c,).

    Derived in chapter 03.
    """
    full = torch.cat((torch.cat((H, -C.T), 1), torch.cat((C, C.new_zeros(len(C), len(C))), 1)))
    both = solve_unchecked(full, -torch.cat((slope, defects)))
    return both[: len(slope)], both[len(slope) :]


def penalized(found: tuple[Tensor, Tensor, Tensor], weight: Tensor) -> Tensor:
    """The merit of a plan, J + weight * sum |defects|."""
    _, total, defects = found
    return total + weight * defects.abs().sum()


def transcribe(system: System, guess: Rollout, max_steps: int = 100) -> Plan:
    """Direct transcription: all states and controls are unknowns, and the multipliers are costates.

    min J(w) with z_0 = start and z_{k+1} = step(z_k, u_k), where w = (z_0, u_0, z_1, ..., z_n)

    by steps of `kkt`, with H the second derivative of J alone, of which negative curvature is
    clipped to zero. A step is halved until J + weight * |defects| falls. H leaves out the curvature
    of the plant, -p . d2(defects)/dw2, as Gauss and Newton did for least squares; so near a plan of
    a nonlinear plant the steps shrink by a factor each, not quadratically.

    Args:
        system: The controlled system.
        guess: Any states and controls (batch 1), whose first state is the start.
        max_steps: Largest number of steps.

    Returns:
        A `Plan`; for a linear plant with quadratic costs the first step is exact.

    Raises:
        UserError: When it does not settle.

    Derived in chapter 03.
    """
    times, states = guess.path.times, guess.path.states
    n, m = system.state, system.control
    spans = times[:-1], times[1:]
    one = torch.eye(n, n + m, dtype=times.dtype)

    # the state after an interval from (z_k, u_k), and beside it what the interval costs
    def stage(both: Tensor, t: Tensor, s: Tensor) -> Tensor:
        z, u = both[None, :n], both[None, n:]
        after = rk4(lambda z, t: system.plant(z, u, t), z, t, s)
        return torch.cat((after[0], interval_cost(system, u, z, after, t, s)))

    def stage_cost(both: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return stage(both, t, s)[n]

    def end_cost(z: Tensor) -> Tensor:
        return system.terminal(z[None])[0]

    # the rows (z_k, u_k), J and the defects
    def evaluate(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, last = w[:-n].view(-1, n + m), w[-n:]
        after = vmap(stage)(rows, *spans)
        defects = torch.cat((rows[:, :n], last[None])) - torch.cat((states[0], after[:, :n]))
        return rows, after[:, n].sum() + end_cost(last), defects.flatten()

    # the step and the multipliers
    def newton(rows: Tensor, last: Tensor, defects: Tensor) -> tuple[Tensor, Tensor]:
        slopes = vmap(jacrev(stage))(rows, *spans)
        second = convex(vmap(jacrev(jacrev(stage_cost)))(rows, *spans))
        C = block_diag(*[one] * len(rows), one[:, :n])
        C[n:, :-n] -= block_diag(*slopes[:, :n])
        slope = torch.cat((slopes[:, n].flatten(), grad(end_cost)(last)))
        return kkt(block_diag(*second, convex(hessian(end_cost)(last))), C, slope, defects)

    w = torch.cat((torch.cat((states[:-1, 0], guess.controls[:, 0]), 1).flatten(), states[-1, 0]))
    found = evaluate(w)
    for steps in range(1, max_steps + 1):
        move, p = newton(found[0], w[-n:], found[2])
        merit = partial(penalized, weight=2 * p.abs().max())
        w, found = backtrack(w, move, evaluate, merit, merit(found) * (1 + 1e-12))
        if move.abs().max() < 1e-8 * (1 + w.abs().max()):
            path = Trajectory(times, torch.cat((found[0][:, :n], w[None, -n:]))[:, None])
            return Plan(Rollout(path, found[0][:, None, n:]), p.view(-1, 1, n), steps)
    raise UserError(
        f"transcription has not settled after {max_steps} steps: begin nearer to a path"
    )
