"""Closed and open loops: one rollout, replay and disturbance for a pendulum and for a sentence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..dynamics.records import Trajectory
from ..dynamics.solvers import Step, integrate, step_of
from .systems import System

# (state (batch, ...), time scalar) -> control (batch, ...)
Policy = Callable[[Tensor, Tensor], Tensor]
# (state, control, time) -> velocity of the state
Plant = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass
class Rollout:
    """A steered path, and the control held from each time to the next: (time - 1, batch, ...)."""

    path: Trajectory
    controls: Shaped[Tensor, "interval batch ..."]


def transport(z: Tensor, u: Tensor, t: Tensor) -> Tensor:
    """The plant of a transport, where the control is the velocity: f(z, u, t) = u.

    Args:
        z: State (batch, ...).
        u: Control (batch, ...).
        t: Time, a scalar.

    Returns:
        The control itself.
    """
    return u


def rollout(
    plant: Plant,
    policy: Policy,
    start: Shaped[Tensor, "batch ..."],
    times: Float[Tensor, "time ..."],
    method: str | Step = "rk4",
    rng: torch.Generator | None = None,
    record: bool = True,
) -> Rollout:
    """Steer by feedback: at each time choose a control from the state, and hold it until the next.

    u_k = policy(z_k, t_k),  z_{k+1} = step(z -> f(z, u_k, t), z_k, t_k, t_{k+1})

    Args:
        plant: The plant f.
        policy: The feedback policy.
        start: State (batch, ...) at the first time.
        times: Increasing times, as `integrate` takes them.
        method: Solver of `integrate` between two times.
        rng: Generator of the random numbers of a method that draws.
        record: If False, only start, end and the last control are kept.

    Returns:
        A `Rollout`.

    Raises:
        UserError: On an unknown method.

    Derived in chapter 01.
    """
    controls: list[Tensor] = []
    step = step_of(method)

    def hold(
        policy: Policy, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        u = policy(z, t)
        if not record:
            controls.clear()
        controls.append(u)
        return step(lambda z, t: plant(z, u, t), z, t, s, rng)

    path = integrate(policy, start, times, hold, rng, record)
    return Rollout(path, torch.stack(controls))


def replay(controls: Sequence[Tensor] | Tensor, times: Float[Tensor, "time ..."]) -> Policy:
    """The open-loop policy that repeats recorded controls whatever the state is.

    u(z, t) = u_k for t_k <= t < t_{k+1}

    Args:
        controls: Recorded controls (time - 1, batch, ...).
        times: Times (time,), or (time, ...) where parts of a state have times of their own, of
            which the mean counts.

    Returns:
        A `Policy`.
    """
    means = torch.stack([t.mean() for t in times])

    def policy(z: Tensor, t: Tensor) -> Tensor:
        k = int(torch.searchsorted(means, t.mean(), right=True)) - 1
        return controls[min(max(k, 0), len(controls) - 1)]

    return policy


def interval_cost(
    system: System, u: Tensor, before: Tensor, after: Tensor, t: Tensor, s: Tensor
) -> Float[Tensor, " batch"]:
    """The running cost of one interval by the trapezoidal rule, (s - t) (l(z_t) + l(z_s)) / 2.

    Args:
        system: The controlled system.
        u: The control (batch, control) held from t to s.
        before: State (batch, state) at time t.
        after: State (batch, state) at time s.
        t: Time at which the interval begins.
        s: Time at which it ends.

    Returns:
        The cost (batch,).
    """
    return (s - t) / 2 * (system.running(before, u, t) + system.running(after, u, s))


def cost(system: System, run: Rollout) -> Float[Tensor, " batch"]:
    """The realized cost J = int l(z, u, t) dt + Phi(z_1), with the integral by `interval_cost`.

    Args:
        system: The controlled system.
        run: A rollout of it.

    Returns:
        J (batch,), differentiable in the controls.
    """
    states = run.path.states
    total = system.terminal(states[-1])
    for k, (t, s) in enumerate(pairwise(run.path.times)):
        total = total + interval_cost(system, run.controls[k], states[k], states[k + 1], t, s)
    return total


@dataclass
class Disturbance:
    """Three paths from one start: undisturbed, disturbed with feedback, disturbed without it."""

    plan: Trajectory
    closed: Trajectory  # the policy goes on from the disturbed state
    replayed: Trajectory  # the controls of the plan are repeated from the disturbed state
    at: int  # index of the time of the disturbance
    controls: tuple[Tensor, Tensor]  # of the plan and of the closed loop, (time - 1, batch, ...)


def disturb(
    plant: Plant,
    policy: Policy,
    start: Shaped[Tensor, "batch ..."],
    times: Float[Tensor, "time ..."],
    displacement: tuple[int, Tensor | Callable[[Tensor], Tensor]],
    method: str | Step = "rk4",
    rng: torch.Generator | None = None,
) -> Disturbance:
    """Displace the state once, and go on from there by feedback and by the recorded plan.

    A method that draws gets the same noise in all three paths.

    Args:
        plant: The plant, as for `rollout`.
        policy: The feedback policy.
        start: State (batch, ...) at the first time.
        times: Increasing times, as `integrate` takes them.
        displacement: Index of the time of the disturbance, and what is added to the state there:
            (batch, ...), or a function of the state.
        method: Solver of `integrate` between two times.
        rng: Generator of the random numbers of a method that draws.

    Returns:
        A `Disturbance`, whose three paths have all times.
    """
    at, change = displacement
    first = rollout(plant, policy, start, times[: at + 1], method, rng) if at else None
    before = first.path.states if first else start[None]
    noise = rng.get_state() if rng else None

    def go_on(policy: Policy, z: Tensor) -> Rollout:
        if rng and noise is not None:
            rng.set_state(noise)
        second = rollout(plant, policy, z, times[at:], method, rng)
        controls = torch.cat((first.controls, second.controls)) if first else second.controls
        return Rollout(Trajectory(times, torch.cat((before[:-1], second.path.states))), controls)

    plan = go_on(policy, before[-1])
    displaced = before[-1] + (change(before[-1]) if callable(change) else change)
    closed = go_on(policy, displaced)
    replayed = go_on(replay(plan.controls, times), displaced)
    return Disturbance(plan.path, closed.path, replayed.path, at, (plan.controls, closed.controls))
