"""Plans from one start: shooting, which guesses a costate, and transcription, which guesses a whole
path.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, hessian, jacrev, vmap

from ..dynamics.records import Trajectory
from ..dynamics.solvers import integrate, rk4
from ..errors import UserError
from .adjoint import final_costate, hamiltonian
from .feedback import Rollout
from .hjb import best_control
from .systems import System


@dataclass
class Plan:
    """A path from one start (the batch is 1) that meets the conditions of an optimum, its controls
    and its costates.
    """

    run: Rollout
    costates: Float[Tensor, "time 1 state"]
    steps: int  # steps of the method that it took


def extremal(
    system: System,
    start: Float[Tensor, "batch state"],
    costate: Float[Tensor, "batch state"],
    times: Float[Tensor, " time"],
) -> Float[Tensor, "time batch both"]:
    """The path of state and costate together, dz/dt = dH/dp, dp/dt = -dH/dz, under the best
    control, from p(0).

    Args:
        system: The controlled system.
        start, costate: (batch, state).
        times: (time,).

    Returns:
        (z, p) side by side (time, batch, 2 state).
    """

    def field(both: Tensor, t: Tensor) -> Tensor:
        z, p = both.chunk(2, dim=-1)
        u = best_control(system, z, p, t)
        return torch.cat(
            (system.plant(z, u, t), -grad(lambda z: hamiltonian(system, z, u, p, t).sum())(z)),
            dim=-1,
        )

    return integrate(field, torch.cat((start, costate), dim=-1), times, "rk4").states


def shoot(
    system: System,
    start: Float[Tensor, " state"],
    times: Float[Tensor, " time"],
    costate: Float[Tensor, " state"],
    most: int = 50,
) -> Plan:
    """Single shooting: find the p(0) whose path ends with p(1) = grad Phi(z_1), by Newton steps
    that never raise the miss.

    Args:
        system: Plant linear and cost quadratic in u.
        start: (state,).
        times: Times (time,).
        costate: The guess of p(0).
        most: Newton steps.

    Returns:
        A `Plan` whose controls are the means over the ends of their intervals.

    Raises:
        UserError: When Newton's method does not arrive.
    """
    start, n = start[None], system.state

    def miss(costate: Tensor) -> Tensor:  # p(1) - grad Phi(z_1) for each guess of p(0)
        z, p = extremal(system, start.expand(len(costate), -1), costate, times)[-1].chunk(2, dim=-1)
        return p - final_costate(system, z)

    def slopes(
        costate: Tensor,
    ) -> Tensor:  # row i is the derivative of miss i: one guess for each row, one backward pass
        guesses = costate.expand(n, -1).clone().requires_grad_()
        return torch.autograd.grad(miss(guesses).diagonal().sum(), guesses)[0]

    costate = costate[None]
    gap = miss(costate)
    for steps in range(most + 1):
        if gap.norm() < 1e-9 * (1 + costate.norm()):
            both = extremal(system, start, costate, times)
            controls = torch.stack(
                [best_control(system, *both[k].chunk(2, dim=-1), t) for k, t in enumerate(times)]
            )
            z, p = both.chunk(2, dim=-1)
            return Plan(Rollout(Trajectory(times, z), (controls[1:] + controls[:-1]) / 2), p, steps)
        move, share = torch.linalg.solve_ex(slopes(costate), gap[0]).result[None], 1.0
        while not (trial := miss(costate - share * move)).norm() < gap.norm() and share > 1e-6:
            share /= 2
        costate, gap = costate - share * move, trial
    raise UserError(
        f"shooting still misses by {gap.norm():.1e} after {most} steps: begin nearer to the costate, and let every "
        "control have a price"
    )


def convex(H: Float[Tensor, "... n n"]) -> Float[Tensor, "... n n"]:
    """The nearest second derivative that bends up everywhere: negative eigenvalues become 0."""
    values, vectors = torch.linalg.eigh(H)
    return vectors * values.clamp(min=0)[..., None, :] @ vectors.mT


def kkt(
    H: Float[Tensor, "w w"],
    C: Float[Tensor, "c w"],
    slope: Float[Tensor, " w"],
    defects: Float[Tensor, " c"],
) -> tuple[Tensor, Tensor]:
    """The lowest point of slope . dw + dw'H dw / 2 among those with C dw = -defects, by Lagrange's conditions.

    [[H, -C'], [C, 0]] (dw, p) = (-slope, -defects)
    Args: as named. Returns the move dw (w,) and the multipliers p (c,). Derived in chapter 03. Source: textbook.
    """
    full = torch.cat((torch.cat((H, -C.T), 1), torch.cat((C, C.new_zeros(len(C), len(C))), 1)))
    return torch.linalg.solve_ex(full, -torch.cat((slope, defects))).result.split(
        (len(slope), len(defects))
    )


def transcribe(system: System, guess: Rollout, most: int = 100) -> Plan:
    """Direct transcription: all states and controls at once, the equations of motion as
    constraints, costates as multipliers.

    min J(w) with z_0 = start and z_{k+1} = step(z_k, u_k), where w = (z_0, u_0, z_1, ..., z_n); by
    steps of `kkt`, with H the second derivative of J alone, of which negative curvature is clipped
    to zero. A step is halved until J + price * |defects| falls (a line search). H leaves out -p .
    d2(defects)/dw2, the curvature of the plant, as Gauss and Newton did for least squares; so near
    a plan of a nonlinear plant the steps shrink by a factor each, not quadratically.

    Args:
        system: The controlled system.
        guess: (batch 1), any states and controls, whose first state is the start.
        most: Steps.

    Returns:
        A `Plan`; for a linear plant with quadratic costs the first step is exact.

    Raises:
        UserError: When it does not settle.

    Derived in chapter 03.
    """
    times, n, m = guess.path.times, system.state, system.control
    start, spans = guess.path.states[0], (times[:-1], times[1:])

    def stage(
        both: Tensor, t: Tensor, s: Tensor
    ) -> Tensor:  # (z_k, u_k) -> the state after, and what the interval costs
        z, u = both[None, :n], both[None, n:]
        after = rk4(lambda z, t: system.plant(z, u, t), z, t, s)
        spent = (s - t) / 2 * (system.running(z, u, t) + system.running(after, u, s))
        return torch.cat((after[0], spent))

    def price_of_stage(both: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return stage(both, t, s)[n]

    def end(z: Tensor) -> Tensor:
        return system.terminal(z[None])[0]

    def look(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # the rows (z_k, u_k), J and the defects
        rows, last = w[:-n].view(-1, n + m), w[None, -n:]
        ahead = vmap(stage)(rows, *spans)
        defects = torch.cat((rows[:, :n], last)) - torch.cat((start, ahead[:, :n]))
        return rows, ahead[:, n].sum() + end(last[0]), defects.flatten()

    here = torch.block_diag(
        *[torch.eye(n, n + m, dtype=times.dtype)] * len(spans[0]), torch.eye(n, dtype=times.dtype)
    )
    w = torch.cat(
        (
            torch.cat((guess.path.states[:-1, 0], guess.controls[:, 0]), dim=1).flatten(),
            guess.path.states[-1, 0],
        )
    )
    rows, J, defects = look(w)
    for steps in range(1, most + 1):
        slopes = vmap(jacrev(stage))(rows, *spans)
        bends = convex(vmap(jacrev(jacrev(price_of_stage)))(rows, *spans))
        C = here.clone()
        C[n:, :-n] -= torch.block_diag(*slopes[:, :n])
        move, p = kkt(
            torch.block_diag(*bends, convex(hessian(end)(w[-n:]))),
            C,
            torch.cat((slopes[:, n].flatten(), grad(end)(w[-n:]))),
            defects,
        )
        share, price = 1.0, 2 * p.abs().max()
        merit = J + price * defects.abs().sum()
        while (trial := look(w + share * move))[1] + price * trial[2].abs().sum() > merit * (
            1 + 1e-12
        ) and share > 1e-6:
            share /= 2
        w, (rows, J, defects) = w + share * move, trial
        if move.abs().max() < 1e-8 * (1 + w.abs().max()):
            states = torch.cat((rows[:, :n], w[None, -n:]))
            return Plan(
                Rollout(Trajectory(times, states[:, None]), rows[:, None, n:]),
                p.view(-1, 1, n),
                steps,
            )
    raise UserError(f"transcription has not settled after {most} steps: begin nearer to a path")
