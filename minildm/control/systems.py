"""Controlled systems: a plant dz/dt = f(z, u, t), a running cost l(z, u, t), an end cost Phi(z)."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

AnyTime = Tensor | float | None  # of systems that do not depend on time


@runtime_checkable
class System(Protocol):
    """What the functions of this room ask of a system; all methods work on batches."""

    @property
    def state(self) -> int: ...  # numbers in a state z

    @property
    def control(self) -> int: ...  # numbers in a control u

    def plant(
        self, z: Float[Tensor, "batch state"], u: Float[Tensor, "batch control"], t: Tensor
    ) -> Tensor:
        """Velocity f(z, u, t) of the state, (batch, state)."""
        ...

    def running(
        self, z: Float[Tensor, "batch state"], u: Float[Tensor, "batch control"], t: Tensor
    ) -> Tensor:
        """Cost per unit of time l(z, u, t), (batch,)."""
        ...

    def terminal(self, z: Float[Tensor, "batch state"]) -> Tensor:
        """Cost of the end Phi(z), (batch,)."""
        ...


def squares(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Half the squared length of each vector, |x|^2 / 2.

    Args:
        x: Vectors (..., n).

    Returns:
        One number (...,) for each.
    """
    return x.square().sum(-1) / 2


@dataclass(frozen=True)
class PointMass:
    """A point whose velocity is the control, as in every generative model of this book.

    dz/dt = u,  l = r/2 |u|^2,  Phi = c/2 |z - y|^2 with the target y = (target, ..., target).

    Derived in chapter 01.
    """

    state: int = 2  # dimensions of space
    effort: float = 1.0  # r, weight of the control
    weight: float = 10.0  # c, weight of the terminal error
    target: float = 0.0  # every coordinate of y

    @property
    def control(self) -> int:
        return self.state

    def plant(self, z: Tensor, u: Tensor, t: AnyTime) -> Tensor:
        return u

    def running(self, z: Tensor, u: Tensor, t: AnyTime) -> Tensor:
        return self.effort * squares(u)

    def terminal(self, z: Tensor) -> Tensor:
        return self.weight * squares(z - self.target)


@dataclass(frozen=True)
class TwoWells(PointMass):
    """A point mass with two good ends, y and -y, in place of one.

    Phi = c/2 min(|z - y|^2, |z + y|^2).

    Derived in chapter 02.
    """

    state: int = 1
    target: float = 1.0  # every coordinate of y

    def terminal(self, z: Tensor) -> Tensor:
        return self.weight * torch.minimum(squares(z - self.target), squares(z + self.target))


@dataclass(frozen=True)
class DoubleIntegrator:
    """A cart without friction: its state is (position q, velocity v), its control the acceleration.

    dq/dt = v,  dv/dt = u,  l = s/2 |z|^2 + r/2 u^2,  Phi = c/2 |z|^2.

    Derived in chapter 01. Source: Underactuated.
    """

    effort: float = 1.0  # r, weight of the control
    running_weight: float = 0.0  # s, weight of the distance from the origin on the way
    weight: float = 10.0  # c, weight of the terminal error: the end should be at rest at the origin
    state: int = 2
    control: int = 1

    def plant(self, z: Tensor, u: Tensor, t: AnyTime) -> Tensor:
        return torch.cat((z[:, 1:], u), dim=-1)

    def running(self, z: Tensor, u: Tensor, t: AnyTime) -> Tensor:
        return self.running_weight * squares(z) + self.effort * squares(u)

    def terminal(self, z: Tensor) -> Tensor:
        return self.weight * squares(z)


@dataclass(frozen=True)
class Pendulum:
    """A pendulum with a motor: its state is (angle q, angular velocity v), its control the torque.

    dq/dt = v,  dv/dt = u - sin q - k v,  l = r/2 u^2,  Phi = c/2 (2 (1 + cos q) + v^2)

    The angle is in radians, zero where the pendulum hangs; the end should be upright and at rest.

    Derived in chapter 01. Source: Underactuated.
    """

    effort: float = 1.0  # r, weight of the torque
    weight: float = 10.0  # c, weight of the terminal error
    damping: float = 0.1  # k
    state: int = 2
    control: int = 1

    def plant(self, z: Tensor, u: Tensor, t: AnyTime) -> Tensor:
        q, v = z.chunk(2, dim=-1)
        return torch.cat((v, u - torch.sin(q) - self.damping * v), dim=-1)

    def running(self, z: Tensor, u: Tensor, t: AnyTime) -> Tensor:
        return self.effort * squares(u)

    def terminal(self, z: Tensor) -> Tensor:
        q, v = z.unbind(-1)
        return self.weight * ((1 + torch.cos(q)) + v.square() / 2)
