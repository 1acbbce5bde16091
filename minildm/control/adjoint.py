"""Costates: what a nudge of the state at each time would cost, by the adjoint equation, by
autograd, and step by step.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vjp

from ..dynamics.records import Trajectory
from ..dynamics.solvers import Field, Step, cubic, integrate, rk4, step_of
from .feedback import Rollout, replay
from .systems import System


@dataclass
class Adjoint:
    """The derivatives of J along a rollout: by the state at each time, and by the control of each
    interval.
    """

    costates: Float[Tensor, "time batch state"]  # p_k = dJ/dz_k
    gradient: Float[Tensor, "interval batch control"]  # dJ/du_k


def hamiltonian(
    system: System,
    z: Float[Tensor, "batch state"],
    u: Float[Tensor, "batch control"],
    p: Float[Tensor, "batch state"],
    t: Tensor,
) -> Float[Tensor, " batch"]:
    """The cost of an instant, with progress priced by the costate: H = l(z, u, t) + p . f(z, u, t).

    Args:
        system: The controlled system.
        z, p: (batch, state).
        u: (batch, control).
        t: Scalar.

    Returns:
        H (batch,).
    """
    return system.running(z, u, t) + (p * system.plant(z, u, t)).sum(-1)


def final_costate(system: System, z: Float[Tensor, "batch state"]) -> Float[Tensor, "batch state"]:
    """What a nudge at the end costs, p(1) = grad Phi(z_1).

    Args:
        system: The controlled system.
        z: (batch, state).

    Returns:
        p (batch, state).
    """
    return grad(lambda z: system.terminal(z).sum())(z)


def adjoint(system: System, run: Rollout) -> Adjoint:
    """Costates by the adjoint equation, backwards along a recorded path, and from them the
    derivative by each held control.

    -dp/dt = (df/dz)'p + dl/dz,  p(1) = grad Phi,  dJ/du_k = int over interval k of dl/du +
    (df/du)'p dt

    Args:
        system: The controlled system.
        run: Whose states between the records are taken from `cubic`; the method has order 4.

    Returns:
        An `Adjoint`, the derivatives of the exact J.

    Derived in chapter 03.
    """
    states, times = run.path.states, run.path.times
    slopes = grad(lambda z, u, p, t: hamiltonian(system, z, u, p, t).sum(), argnums=(0, 1))
    held, gradient = replay(run.controls, times), []

    def step(field, p, s, t, rng):  # from s back to t
        k = int(torch.searchsorted(times, t))
        z, after, u = states[k], states[k + 1], held(p, t)
        ends = z, after, system.plant(z, u, t), system.plant(after, u, s)

        def back(both: Tensor, at: Tensor) -> Tensor:
            dz, du = slopes(cubic((at - t) / (s - t), s - t, *ends), u, both[:, : z.shape[1]], at)
            return -torch.cat((dz, du), dim=-1)

        both = rk4(back, torch.cat((p, torch.zeros_like(u)), dim=-1), s, t)
        gradient.insert(0, both[:, z.shape[1] :])
        return both[:, : z.shape[1]]

    costates = integrate(None, final_costate(system, states[-1]), times.flip(0), step).states.flip(
        0
    )
    return Adjoint(costates, torch.stack(gradient))


def adjoint_by_autograd(system: System, run: Rollout, method: str | Step = "rk4") -> Adjoint:
    """The same derivatives by autograd through the rollout: nudge the state after each step by a
    zero that has a gradient.

    p_k = dJ/dn_k at n = 0, where z_{k+1} = step(z_k, u_k) + n_{k+1}, and J is that of `cost`

    Args:
        system: The controlled system.
        run: Folder of the run.
        method: That made it.

    Returns:
        An `Adjoint`, the derivatives of J as it was computed.

    Derived in chapter 03.
    """
    step = step_of(method)
    nudges = torch.zeros_like(run.path.states).requires_grad_()
    controls = run.controls.detach().clone().requires_grad_()
    z, spent = run.path.states[0].detach() + nudges[0], 0.0
    for u, nudge, (t, s) in zip(controls, nudges[1:], pairwise(run.path.times)):
        after = step(lambda z, t, u=u: system.plant(z, u, t), z, t, s, None)
        spent = spent + (s - t) / 2 * (system.running(z, u, t) + system.running(after, u, s))
        z = after + nudge
    J = (spent + system.terminal(z)).sum()
    return Adjoint(*torch.autograd.grad(J, (nudges, controls)))


def pull_back(
    field: Field,
    path: Trajectory,
    gradient: Float[Tensor, "batch ..."],
    method: str | Step = "euler",
) -> Float[Tensor, "time batch ..."]:
    """Carry a gradient at the end of any recorded path back to all its times, by one
    vector-Jacobian product a step.

    p_k = (d step / dz)(z_k)' p_{k+1}

    Args:
        field, method: That made `path`, as for `integrate`.
        gradient: p_1 (batch, ...).

    Returns:
        The costates (time, batch, ...).

    Derived in chapter 03.
    """
    step, times = step_of(method), path.times
    costates = [gradient]
    for k in reversed(range(len(times) - 1)):
        _, pull = vjp(lambda z, k=k: step(field, z, times[k], times[k + 1], None), path.states[k])
        costates.append(pull(costates[-1])[0])
    return torch.stack(costates[::-1])


def adjoint_profile(
    field: Field,
    path: Trajectory,
    gradient: Float[Tensor, "batch ..."],
    method: str | Step = "euler",
) -> Float[Tensor, "time batch"]:
    """How much of a wish about the end is felt at each earlier time, |p_t| / |p_1|: 0 means that it
    cannot be steered there.

    Args:
        field, path, gradient, method: As for `pull_back`.

    Returns:
        Ratios (time, batch), 1 at the end.
    """
    sizes = pull_back(field, path, gradient, method).flatten(2).norm(dim=-1)
    return sizes / sizes[-1]
