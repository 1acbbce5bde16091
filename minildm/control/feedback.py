"""Closing the loop, and leaving it open: one rollout, one replay and one kick for a pendulum and
for a sentence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..dynamics.records import Trajectory
from ..dynamics.solvers import Step, integrate, step_of
from .systems import System

Law = Callable[
    [Tensor, Tensor], Tensor
]  # (state (batch, ...), time scalar) -> control (batch, ...)
Plant = Callable[
    [Tensor, Tensor, Tensor], Tensor
]  # (state, control, time) -> velocity of the state


@dataclass
class Rollout:
    """A steered path, and the control held from each time to the next: (time - 1, batch, ...)."""

    path: Trajectory
    controls: Shaped[Tensor, "interval batch ..."]


def transport(z: Tensor, u: Tensor, t: Tensor) -> Tensor:
    """The plant of a transport, where the control is the velocity: f(z, u, t) = u.

    Args:
        z, u: (batch, ...).
        t: Scalar.

    Returns:
        `u`.
    """
    return u


def rollout(
    plant: Plant,
    law: Law,
    start: Shaped[Tensor, "batch ..."],
    times: Float[Tensor, "time ..."],
    method: str | Step = "rk4",
    rng: torch.Generator | None = None,
    record: bool = True,
) -> Rollout:
    """Steer: look at the state at each time, choose a control, hold it until the next time.

    u_k = law(z_k, t_k),  z_{k+1} = step(z -> f(z, u_k, t), z_k, t_k, t_{k+1})

    Args:
        plant: f.
        law: The distribution.
        start: (batch, ...).
        times: Of `integrate`, increasing.
        method: Of it between two looks.
        rng: For a method that draws.
        record: Else only start, end and the last control are kept.

    Returns:
        A `Rollout`.

    Raises:
        UserError: On an unknown method.

    Derived in chapter 01.
    """
    controls, step = [], step_of(method)

    def hold(law: Law, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None) -> Tensor:
        u = law(z, t)
        if not record:
            controls.clear()
        controls.append(u)
        return step(lambda z, t: plant(z, u, t), z, t, s, rng)

    path = integrate(law, start, times, hold, rng, record)
    return Rollout(path, torch.stack(controls))


def replay(controls: Sequence[Tensor] | Tensor, times: Float[Tensor, "time ..."]) -> Law:
    """The open-loop law that plays recorded controls back whatever the state is: u(z, t) = u_k for
    t_k <= t < t_{k+1}.

    Args:
        controls: (time - 1, batch, ...).
        times: (time,), or (time, ...) where parts of a state have times of their own, whose mean is
            then the clock.

    Returns:
        A `Law`.
    """
    clock = torch.stack([t.mean() for t in times])

    def law(z: Tensor, t: Tensor) -> Tensor:
        k = int(torch.searchsorted(clock, t.mean(), right=True)) - 1
        return controls[min(max(k, 0), len(controls) - 1)]

    return law


def cost(system: System, run: Rollout) -> Float[Tensor, " batch"]:
    """What a rollout spent and where it ended: J = int l(z, u, t) dt + Phi(z_1), the integral by
    the trapezoidal rule.

    Args:
        system: The controlled system.
        run: Folder of the run.

    Returns:
        J (batch,), differentiable in the controls.
    """
    states, times = run.path.states, run.path.times
    total = system.terminal(states[-1])
    for k, (t, s) in enumerate(pairwise(times)):
        u = run.controls[k]
        total = total + (s - t) / 2 * (
            system.running(states[k], u, t) + system.running(states[k + 1], u, s)
        )
    return total


@dataclass
class Kick:
    """Three paths from one start: undisturbed, and pushed once with the loop closed or with the
    recorded controls replayed.
    """

    plan: Trajectory
    closed: Trajectory
    replayed: Trajectory
    at: int  # index of the time of the push
    controls: tuple[
        Tensor, Tensor
    ]  # (time - 1, batch, ...) of the plan, which the replay repeats, and of the closed loop


def kick(
    plant: Plant,
    law: Law,
    start: Shaped[Tensor, "batch ..."],
    times: Float[Tensor, "time ..."],
    at: int,
    push: Tensor | Callable[[Tensor], Tensor],
    method: str | Step = "rk4",
    rng: torch.Generator | None = None,
) -> Kick:
    """Push the state by `push` at times[at], then go on by feedback and, from the same pushed
    state, by the recorded plan.

    A method that draws sees the same noise in all three paths.

    Args:
        plant, law, start, times, method, rng: As for `rollout`.
        at: An index of `times`.
        push: (batch, ...), or a function of the state there.

    Returns:
        A `Kick`; its three paths have all times.
    """
    first = rollout(plant, law, start, times[: at + 1], method, rng) if at else None
    before = first.path.states if first else start[None]
    drawn = rng.get_state() if rng else None

    def after(law: Law, z: Tensor) -> Rollout:
        if rng:
            rng.set_state(drawn)
        rest = rollout(plant, law, z, times[at:], method, rng)
        controls = torch.cat((first.controls, rest.controls)) if first else rest.controls
        return Rollout(Trajectory(times, torch.cat((before[:-1], rest.path.states))), controls)

    plan = after(law, before[-1])
    pushed = before[-1] + (push(before[-1]) if callable(push) else push)
    closed, replayed = after(law, pushed), after(replay(plan.controls, times), pushed)
    return Kick(plan.path, closed.path, replayed.path, at, (plan.controls, closed.controls))
