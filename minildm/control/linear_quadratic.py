"""Linear plants with quadratic costs, and the two controls that have a closed form."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import hessian, jacrev

from ..dynamics.linalg import solve
from ..errors import UserError
from .systems import AnyTime, System, squares

# --- the scalar Riccati equation in closed form ---------------------------------------------------


def time_left(z: Float[Tensor, "batch ..."], t: Tensor | float) -> Tensor:
    """1 - t, for t scalar or (batch,), in a shape that multiplies z (batch, ...)."""
    left = 1 - torch.as_tensor(t, dtype=z.dtype, device=z.device)
    return left[(..., *[None] * (z.ndim - left.ndim))]


def pinned_control(
    y: Float[Tensor, "batch ..."],
    z: Float[Tensor, "batch ..."],
    t: Tensor | float,
    tau: float = 0.0,
) -> Float[Tensor, "batch ..."]:
    """The minimum-energy control to a fixed end point: straight to y, in the time that is left.

    u = (y - z) / max(1 - t, tau)

    Args:
        y: End point (batch, ...).
        z: State (batch, ...).
        t: Time, a scalar or (batch,).
        tau: Least time left, which bounds u near t = 1.

    Returns:
        The control (batch, ...).

    Derived in chapter 03.
    """
    return (y - z) / time_left(z, t).clamp(min=tau)


def pinned_value(
    y: Float[Tensor, "batch ..."], z: Float[Tensor, "batch ..."], t: Tensor | float
) -> Float[Tensor, " batch"]:
    """The cost-to-go V = |y - z|^2 / (2 (1 - t)) of the pinned control, which is -grad V.

    Args:
        y: End point (batch, ...).
        z: State (batch, ...).
        t: Time, a scalar or (batch,), below 1.

    Returns:
        V (batch,).
    """
    return squares((y - z).flatten(1)) / (1 - t)


def soft_terminal_control(
    y: Float[Tensor, "batch ..."], z: Float[Tensor, "batch ..."], t: Tensor | float, c: float
) -> Float[Tensor, "batch ..."]:
    """The minimum-energy control with the terminal cost c/2 |z_1 - y|^2.

    u = c (y - z) / (1 + c (1 - t))

    It is bounded at t = 1, and tends to the pinned control when c grows.

    Args:
        y: Target (batch, ...).
        z: State (batch, ...).
        t: Time, a scalar or (batch,).
        c: Weight > 0 of the terminal cost.

    Returns:
        The control (batch, ...).

    Derived in chapter 03.
    """
    return c * (y - z) / (1 + c * time_left(z, t))


def soft_terminal_value(
    y: Float[Tensor, "batch ..."],
    z: Float[Tensor, "batch ..."],
    t: Tensor | float,
    c: float,
    g: float = 0.0,
) -> Float[Tensor, " batch"]:
    """The cost-to-go of the soft terminal control, under noise g.

    V = c |y - z|^2 / (2 (1 + c (1 - t))) + d g^2 / 2 log(1 + c (1 - t)), with d numbers in a state

    The noise adds a cost that no control can avoid, and leaves the control as it is.

    Args:
        y: Target (batch, ...).
        z: State (batch, ...).
        t: Time, a scalar or (batch,).
        c: Weight > 0 of the terminal cost.
        g: Noise >= 0.

    Returns:
        V (batch,).

    Derived in chapter 03, the noise in chapter 04.
    """
    gap = (y - z).flatten(1)
    spread = torch.as_tensor(1 + c * (1 - t), dtype=z.dtype, device=z.device)
    return c * squares(gap) / spread + gap.shape[1] * g**2 / 2 * spread.log()


# --- any linear plant -----------------------------------------------------------------------------


def apply(
    matrix: Float[Tensor, "... rows columns"], z: Float[Tensor, "batch columns"]
) -> Float[Tensor, "batch rows"]:
    """Matrix times each vector of a batch; one matrix for all, or one for each."""
    return (matrix @ z[..., None])[..., 0]


def form(matrix: Float[Tensor, "... n n"], z: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
    """Half the quadratic form of each vector of a batch, z'Mz / 2."""
    return (z * apply(matrix, z)).sum(-1) / 2


@dataclass(frozen=True)
class LinearQuadratic:
    """A linear plant with quadratic costs around the origin; matrices may have a batch in front.

    dz/dt = A z + B u,  l = (z'Qz + u'Ru) / 2,  Phi = z'Q_1 z / 2.

    Derived in chapter 03.
    """

    A: Float[Tensor, "... state state"]
    B: Float[Tensor, "... state control"]
    Q: Float[Tensor, "... state state"]  # symmetric, >= 0
    R: Float[Tensor, "... control control"]  # symmetric, > 0
    Q1: Float[Tensor, "... state state"]  # symmetric, >= 0

    @property
    def state(self) -> int:
        return self.A.shape[-1]

    @property
    def control(self) -> int:
        return self.B.shape[-1]

    def plant(self, z: Tensor, u: Tensor, t: AnyTime) -> Tensor:
        return apply(self.A, z) + apply(self.B, u)

    def running(self, z: Tensor, u: Tensor, t: AnyTime) -> Tensor:
        return form(self.Q, z) + form(self.R, u)

    def terminal(self, z: Tensor) -> Tensor:
        return form(self.Q1, z)

    def gain(self, P: Float[Tensor, "... state state"]) -> Float[Tensor, "... control state"]:
        """K = R^-1 B'P, the minimizer of the HJB equation: u = -K z."""
        return solve(self.R, self.B.mT @ P)

    def slope(self, P: Float[Tensor, "... state state"]) -> Float[Tensor, "... state state"]:
        """The Riccati equation, dP/dt = -(A'P + PA - P B R^-1 B'P + Q)."""
        return -(self.A.mT @ P + P @ self.A - P @ self.B @ self.gain(P) + self.Q)


def linearize(
    system: System, z: Float[Tensor, " state"], u: Float[Tensor, " control"]
) -> LinearQuadratic:
    """A system near a point of rest: first derivatives of its plant, second ones of its costs.

    A = df/dz, B = df/du, Q = d2l/dz2, R = d2l/du2, Q_1 = d2Phi/dz2, for the deviations from z and u

    Args:
        system: The controlled system, whose plant and costs do not change with time.
        z: State (state,) with f(z, u) = 0.
        u: Control (control,) that holds it.

    Returns:
        A `LinearQuadratic`.

    Raises:
        UserError: When the plant moves there.

    Derived in chapter 03.
    """
    now = z.new_zeros(())

    def plant(z: Tensor, u: Tensor) -> Tensor:
        return system.plant(z[None], u[None], now)[0]

    def running(z: Tensor, u: Tensor) -> Tensor:
        return system.running(z[None], u[None], now)[0]

    def terminal(z: Tensor) -> Tensor:
        return system.terminal(z[None])[0]

    if plant(z, u).abs().max() > 1e-5:
        raise UserError("the plant moves at this point: linearize where f(z, u) = 0")
    A, B = jacrev(plant, argnums=(0, 1))(z, u)
    Q, R = hessian(running, 0)(z, u), hessian(running, 1)(z, u)
    return LinearQuadratic(A, B, Q, R, hessian(terminal)(z))
