"""Costates, dJ/dz along a path: by the adjoint equation, by autograd, and step by step."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vjp

from ..dynamics.jacobians import gradient
from ..dynamics.linalg import norm
from ..dynamics.records import Field, Trajectory
from ..dynamics.solvers import Step, cubic, rk4, step_of
from .feedback import Rollout, interval_cost
from .systems import System


@dataclass
class Adjoint:
    """The derivatives of J by the state at each time, and by the control of each interval."""

    costates: Float[Tensor, "time batch state"]  # p_k = dJ/dz_k
    gradient: Float[Tensor, "interval batch control"]  # dJ/du_k


def hamiltonian(
    system: System,
    z: Float[Tensor, "batch state"],
    u: Float[Tensor, "batch control"],
    p: Float[Tensor, "batch state"],
    t: Tensor,
) -> Float[Tensor, " batch"]:
    """The Hamiltonian H = l(z, u, t) + p . f(z, u, t).

    Args:
        system: The controlled system.
        z: State (batch, state).
        u: Control (batch, control).
        p: Costate (batch, state).
        t: Time, a scalar.

    Returns:
        H (batch,), in cost per unit of time.
    """
    return system.running(z, u, t) + (p * system.plant(z, u, t)).sum(-1)


def final_costate(system: System, z: Float[Tensor, "batch state"]) -> Float[Tensor, "batch state"]:
    """The costate at the end, p(1) = grad Phi(z_1).

    Args:
        system: The controlled system.
        z: State (batch, state) at the end.

    Returns:
        p (batch, state).
    """
    return gradient(system.terminal, z)


def adjoint(system: System, run: Rollout) -> Adjoint:
    """Derivatives by the adjoint equation, backwards along a recorded path.

    -dp/dt = (df/dz)'p + dl/dz,  p(1) = grad Phi,
    dJ/du_k = int over interval k of dl/du + (df/du)'p dt

    The states between the records are those of `cubic`, and the method has order 4.

    Args:
        system: The controlled system.
        run: A rollout of it.

    Returns:
        An `Adjoint`, the derivatives of the exact J.

    Derived in chapter 03.
    """
    states, times = run.path.states, run.path.times

    def total(z: Tensor, u: Tensor, p: Tensor, t: Tensor) -> Tensor:
        return hamiltonian(system, z, u, p, t).sum()

    slopes = grad(total, argnums=(0, 1))

    def interval(k: int, p: Tensor) -> Tensor:
        """The costate at time k from the one at time k + 1, and dJ/du_k beside it."""
        t, s, u = times[k], times[k + 1], run.controls[k]
        ends = (
            states[k],
            states[k + 1],
            system.plant(states[k], u, t),
            system.plant(states[k + 1], u, s),
        )

        def field(both: Tensor, at: Tensor) -> Tensor:
            z = cubic((at - t) / (s - t), s - t, *ends)
            return -torch.cat(slopes(z, u, both[:, : system.state], at), dim=-1)

        return rk4(field, torch.cat((p, torch.zeros_like(u)), dim=-1), s, t)

    costates = [final_costate(system, states[-1])]
    by_control: list[Tensor] = []
    for k in reversed(range(len(times) - 1)):
        both = interval(k, costates[-1])
        costates.append(both[:, : system.state])
        by_control.append(both[:, system.state :])
    return Adjoint(torch.stack(costates[::-1]), torch.stack(by_control[::-1]))


def adjoint_by_autograd(system: System, run: Rollout, method: str | Step = "rk4") -> Adjoint:
    """The same derivatives by autograd: the state is perturbed after each step of the rollout.

    p_k = dJ/dn_k at n = 0, where z_{k+1} = step(z_k, u_k) + n_{k+1}, and J is that of `cost`

    Args:
        system: The controlled system.
        run: A rollout of it.
        method: Solver that made the rollout.

    Returns:
        An `Adjoint`, the derivatives of J as it was computed.

    Derived in chapter 03.
    """
    step = step_of(method)
    perturbations = torch.zeros_like(run.path.states).requires_grad_()
    controls = run.controls.detach().clone().requires_grad_()
    z = run.path.states[0].detach() + perturbations[0]
    total = torch.zeros_like(z[:, 0])
    for u, n, (t, s) in zip(controls, perturbations[1:], pairwise(run.path.times)):
        after = step(lambda z, t, u=u: system.plant(z, u, t), z, t, s)
        total = total + interval_cost(system, u, z, after, t, s)
        z = after + n
    J = (total + system.terminal(z)).sum()
    return Adjoint(*torch.autograd.grad(J, (perturbations, controls)))


def pull_back(
    field: Field,
    path: Trajectory,
    gradient: Float[Tensor, "batch ..."],
    method: str | Step = "euler",
) -> Float[Tensor, "time batch ..."]:
    """Carry a gradient at the end of a path back to all its times.

    p_k = (d step / dz)(z_k)' p_{k+1}, one vector-Jacobian product for each step

    Args:
        field: The vector field that made the path.
        path: A path recorded by `integrate`.
        gradient: The gradient at the end, p_1 (batch, ...).
        method: Solver that made the path.

    Returns:
        The costates (time, batch, ...).

    Derived in chapter 03.
    """
    step, times = step_of(method), path.times
    costates = [gradient]
    for k in reversed(range(len(times) - 1)):

        def one(z: Tensor, k: int = k) -> Tensor:
            return step(field, z, times[k], times[k + 1])

        _, backward, *_ = vjp(one, path.states[k])
        costates.append(backward(costates[-1])[0])
    return torch.stack(costates[::-1])


def adjoint_profile(
    field: Field,
    path: Trajectory,
    gradient: Float[Tensor, "batch ..."],
    method: str | Step = "euler",
) -> Float[Tensor, "time batch"]:
    """How much of a gradient at the end is left at each earlier time, |p_t| / |p_1|.

    Where the ratio is 0, no change of the state changes the end.

    Args:
        field: The vector field that made the path.
        path: A path recorded by `integrate`.
        gradient: The gradient at the end, p_1 (batch, ...).
        method: Solver that made the path.

    Returns:
        Ratios (time, batch), 1 at the end.
    """
    sizes = norm(pull_back(field, path, gradient, method).flatten(2), dim=-1)
    return sizes / sizes[-1]
