"""The Hamilton-Jacobi-Bellman equation: its residual, and two solutions by formula."""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, jvp

from ..dynamics.jacobians import gradient
from ..dynamics.linalg import solve_unchecked
from .feedback import Policy
from .grid import Grid
from .systems import System

# (state (batch, state), time scalar or (batch,)) -> V (batch,)
Value = Callable[[Tensor, Tensor], Tensor]
Terminal = Callable[[Tensor], Tensor]  # state (batch, state) -> Phi (batch,)


def costate(
    value: Value, z: Float[Tensor, "batch state"], t: Tensor
) -> Float[Tensor, "batch state"]:
    """p = grad V(z, t), by autograd.

    Args:
        value: The value V.
        z: State (batch, state).
        t: Time, a scalar or (batch,).

    Returns:
        p (batch, state).
    """
    return gradient(lambda z: value(z, t), z)


def best_control(
    system: System, z: Float[Tensor, "batch state"], p: Float[Tensor, "batch state"], t: Tensor
) -> Float[Tensor, "batch control"]:
    """The control that the costate asks for; it is -p for unit effort and f = u.

    arg min_u { l(z, u, t) + p . f(z, u, t) }

    by one step of Newton from u = 0, exact where l is quadratic and f affine in u, as for every
    system of this book.

    Args:
        system: The controlled system.
        z: State (batch, state).
        p: Costate (batch, state).
        t: Time, a scalar or (batch,).

    Returns:
        u (batch, control).

    Derived in chapter 02.
    """

    def total(u: Tensor) -> Tensor:
        return (system.running(z, u, t) + (p * system.plant(z, u, t)).sum(-1)).sum()

    u = z.new_zeros(len(z), system.control)
    slope = grad(total)
    first = slope(u)
    # the slope is affine in u, so that differences give its second derivative exactly
    second = torch.stack([slope(u + e) - first for e in torch.eye(system.control).to(z)], dim=-1)
    return -solve_unchecked(second, first)


def steer(system: System, slope: Callable[[Tensor, Tensor], Tensor]) -> Policy:
    """The feedback policy of a value: at each state and time the best control for its costate.

    Args:
        system: The controlled system.
        slope: A function (z, t) -> p = grad V.

    Returns:
        A `Policy`.
    """
    return lambda z, t: best_control(system, z, slope(z, t), t)


def residual(
    value: Value,
    system: System,
    z: Float[Tensor, "batch state"],
    t: Tensor,
    g: float = 0.0,
) -> Float[Tensor, " batch"]:
    """What is left of the HJB equation when V is put in; zero where V solves it.

    dV/dt + min_u { l(z, u, t) + grad V . f(z, u, t) } + g^2/2 Lap V, by autograd

    Args:
        value: The value V, differentiable.
        system: The controlled system.
        z: State (batch, state).
        t: Time, a scalar or (batch,), one for each state.
        g: Noise >= 0.

    Returns:
        The residual (batch,).
    """

    def slope(z: Tensor) -> Tensor:
        return costate(value, z, t)

    rate = jvp(partial(value, z), (t,), (torch.ones_like(t),))[1]
    p = slope(z)
    u = best_control(system, z, p, t)
    axes = torch.eye(z.shape[1]).to(z)
    second = (jvp(slope, (z,), (e.expand_as(z).contiguous(),))[1] @ e for e in axes)
    first_order = rate + system.running(z, u, t) + (p * system.plant(z, u, t)).sum(-1)
    return first_order + g**2 / 2 * sum(second, torch.zeros_like(rate))


def straight(
    terminal: Terminal,
    z: Float[Tensor, "batch state"],
    t: Tensor,
    y: Float[Tensor, "some end state"],
) -> Float[Tensor, "batch end"]:
    """The cost of going straight from z at time t to the end y at time 1, and of ending there.

    Phi(y) + |z - y|^2 / (2 (1 - t))

    Args:
        terminal: The terminal cost Phi.
        z: State (batch, state).
        t: Time, a scalar below 1.
        y: Ends (batch or 1, end, state).

    Returns:
        Costs (batch, end).
    """
    effort = (z[:, None] - y).square().sum(-1) / (2 * (1 - t))
    return terminal(y.flatten(0, 1)).reshape(y.shape[:2]) + effort


def hopf_lax(
    terminal: Terminal,
    z: Float[Tensor, "batch state"],
    t: Tensor,
    ends: Grid,
    halvings: int = 30,
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch state"]]:
    """The value of a point mass of unit effort without noise, and its control -grad V.

    V(z, t) = min_y { Phi(y) + |z - y|^2 / (2 (1 - t)) },  u* = (y* - z) / (1 - t)

    The best of the grid of ends is refined by trying its neighbors at ever smaller distance. The
    value is exact to rounding where that end lies in the basin of the least cost. Near a kink of V
    it may lie in the other basin, and the value is then too large by at most K dx^2 n / 8, with K
    the curvature of the cost in y. y* is as exact as a flat minimum allows, 1e-7.

    Args:
        terminal: The terminal cost Phi.
        z: State (batch, state).
        t: Time, a scalar below 1.
        ends: A grid with the best ends in it.
        halvings: How often its spacing is halved.

    Returns:
        V (batch,) and u* (batch, state).

    Derived in chapter 02. Source: Evans.
    """
    y = ends.points(z.dtype)
    best = y[straight(terminal, z, t, y[None]).argmin(1)]
    reach = tuple(ends.spacing)
    around = Grid(tuple(-gap for gap in reach), reach, (5,) * len(reach)).points(z.dtype)
    for k in range(halvings):
        near = best[:, None] + around / 2**k
        best = near[torch.arange(len(z)), straight(terminal, z, t, near).argmin(1)]
    return straight(terminal, z, t, best[:, None])[:, 0], (best - z) / (1 - t)


def hopf_cole(
    terminal: Terminal,
    z: Float[Tensor, "batch state"],
    t: Tensor,
    g: float,
    ends: Grid,
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch state"]]:
    """The value of a point mass of unit effort under noise g, and its control -grad V.

    V(z, t) = -g^2 log E exp(-Phi(z + g sqrt(1 - t) xi) / g^2),  u* = (E_w[y] - z) / (1 - t)

    An end y has the weight w proportional to exp(-(Phi(y) + |z - y|^2 / (2 (1 - t))) / g^2). The
    mean is a sum over a grid of ends, in log space. For smooth Phi its error falls faster than any
    power once the spacing is below 0.7 of the width g / sqrt(1/(1 - t) + Phi'') of the weights, and
    then is rounding; where Phi has a kink it is of order dx^2.

    Args:
        terminal: The terminal cost Phi.
        z: State (batch, state).
        t: Time, a scalar below 1.
        g: Noise > 0.
        ends: A grid that holds nearly all the weight.

    Returns:
        V (batch,) and u* (batch, state), both differentiable.

    Derived in chapter 04; used in chapter 02. Source: Kappen.
    """
    y = ends.points(z.dtype)
    logits = -straight(terminal, z, t, y[None]) / g**2
    cell = math.prod(ends.spacing) / (2 * math.pi * g**2 * (1 - t)) ** (z.shape[1] / 2)
    return -(g**2) * (logits.logsumexp(1) + torch.log(cell)), (logits.softmax(1) @ y - z) / (1 - t)
