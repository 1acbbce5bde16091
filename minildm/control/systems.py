"""Systems to steer: a plant dz/dt = f(z, u, t), a running cost l(z, u, t) and a terminal cost
Phi(z).
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class System(Protocol):
    """What the functions of this room ask of a system; all methods work on batches."""

    state: int  # numbers in a state z
    control: int  # numbers in a control u

    def plant(
        self, z: Float[Tensor, "batch state"], u: Float[Tensor, "batch control"], t: Tensor
    ) -> Tensor:
        """Velocity f(z, u, t) of the state (batch, state)."""

    def running(
        self, z: Float[Tensor, "batch state"], u: Float[Tensor, "batch control"], t: Tensor
    ) -> Tensor:
        """Cost a unit of time l(z, u, t), (batch,)."""

    def terminal(self, z: Float[Tensor, "batch state"]) -> Tensor:
        """Cost of the end Phi(z), (batch,)."""


def squares(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Half the squared length of each vector, |x|^2 / 2.

    Args:
        x: (..., n).

    Returns:
        (...,).
    """
    return x.square().sum(-1) / 2


@dataclass(frozen=True)
class PointMass:
    """A point whose velocity is the control, the system that every generative model of this book
    steers.

    dz/dt = u,  l = r/2 |u|^2,  Phi = c/2 |z - y|^2 with the target y = (target, ..., target).

    Derived in chapter 01.
    """

    state: int = 2  # dimensions of space
    effort: float = 1.0  # r, price of control
    weight: float = 10.0  # c, price of missing the target
    target: float = 0.0  # every coordinate of y

    @property
    def control(self) -> int:
        return self.state

    def plant(self, z, u, t):
        return u

    def running(self, z, u, t):
        return self.effort * squares(u)

    def terminal(self, z):
        return self.weight * squares(z - self.target)


@dataclass(frozen=True)
class TwoWells(PointMass):
    """A point mass with two good ends, y and -y, in place of one.

    Phi = c/2 min(|z - y|^2, |z + y|^2).

    Derived in chapter 02.
    """

    state: int = 1
    target: float = 1.0  # every coordinate of y

    def terminal(self, z):
        return self.weight * torch.minimum(squares(z - self.target), squares(z + self.target))


@dataclass(frozen=True)
class DoubleIntegrator:
    """A cart without friction, state (position q, velocity v), control its acceleration.

    dq/dt = v,  dv/dt = u,  l = s/2 |z|^2 + r/2 u^2,  Phi = c/2 |z|^2.

    Derived in chapter 01. Source: Underactuated.
    """

    effort: float = 1.0  # r, price of control
    running_weight: float = 0.0  # s, price of being away on the way
    weight: float = 10.0  # c, price of not being at rest at the origin at the end
    state: int = 2
    control: int = 1

    def plant(self, z, u, t):
        return torch.cat((z[:, 1:], u), dim=-1)

    def running(self, z, u, t):
        return self.running_weight * squares(z) + self.effort * squares(u)

    def terminal(self, z):
        return self.weight * squares(z)


@dataclass(frozen=True)
class Pendulum:
    """A pendulum with a motor, state (angle q from hanging down, in radians; angular velocity v),
    control its torque.

    dq/dt = v,  dv/dt = u - sin q - k v,  l = r/2 u^2,  Phi = c/2 (2 (1 + cos q) + v^2): the end
    should be upright, at rest.

    Derived in chapter 01. Source: Underactuated.
    """

    effort: float = 1.0  # r, price of torque
    weight: float = 10.0  # c, price of the end
    damping: float = 0.1  # k
    state: int = 2
    control: int = 1

    def plant(self, z, u, t):
        q, v = z[:, :1], z[:, 1:]
        return torch.cat((v, u - torch.sin(q) - self.damping * v), dim=-1)

    def running(self, z, u, t):
        return self.effort * squares(u)

    def terminal(self, z):
        q, v = z[:, 0], z[:, 1]
        return self.weight * ((1 + torch.cos(q)) + v.square() / 2)
