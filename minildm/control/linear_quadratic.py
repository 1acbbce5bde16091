"""Linear plants with quadratic costs: the Riccati equation, its feedback, and the two laws that
steer points and sentences.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import hessian, jacrev

from ..dynamics.solvers import cubic, integrate
from ..errors import UserError
from .systems import System, squares

# --- the scalar Riccati equation in closed form --------------------------------------------------------------------------


def time_left(z: Float[Tensor, "batch ..."], t: Tensor | float) -> Tensor:
    """1 - t, for t scalar or (batch,), in a shape that multiplies z (batch, ...)."""
    left = 1 - torch.as_tensor(t, dtype=z.dtype, device=z.device)
    return left[(..., *[None] * (z.ndim - left.ndim))]


def pinned_law(
    y: Float[Tensor, "batch ..."],
    z: Float[Tensor, "batch ..."],
    t: Tensor | float,
    tau: float = 0.0,
) -> Float[Tensor, "batch ..."]:
    """The least effort that is at y when t = 1, wherever z is now: go straight, in the time that is
    left.

    u = (y - z) / max(1 - t, tau)

    Args:
        y: The end point, and `z` (batch, ...).
        t: Scalar or (batch,).
        tau: The least time left, bounds u near t = 1.

    Returns:
        The control (batch, ...).

    Derived in chapter 03.
    """
    return (y - z) / time_left(z, t).clamp(min=tau)


def pinned_value(
    y: Float[Tensor, "batch ..."], z: Float[Tensor, "batch ..."], t: Tensor | float
) -> Float[Tensor, " batch"]:
    """The cost-to-go of the pinned law, V = |y - z|^2 / (2 (1 - t)), whose -grad V it is.

    Args:
        y, z: (batch, ...).
        t: Scalar or (batch,), below 1.

    Returns:
        V (batch,).
    """
    return squares((y - z).flatten(1)) / (1 - t)


def soft_law(
    y: Float[Tensor, "batch ..."], z: Float[Tensor, "batch ..."], t: Tensor | float, c: float
) -> Float[Tensor, "batch ..."]:
    """The best law when a miss costs c/2 |z_1 - y|^2: bounded at t = 1, and the pinned law when c
    is large.

    u = c (y - z) / (1 + c (1 - t))

    Args:
        y: The target, and `z` (batch, ...).
        t: Scalar or (batch,).
        c: > 0.

    Returns:
        The control (batch, ...).

    Derived in chapter 03.
    """
    return c * (y - z) / (1 + c * time_left(z, t))


def soft_value(
    y: Float[Tensor, "batch ..."],
    z: Float[Tensor, "batch ..."],
    t: Tensor | float,
    c: float,
    g: float = 0.0,
) -> Float[Tensor, " batch"]:
    """The cost-to-go of the soft law; noise g adds a price that no control can avoid, and leaves
    the law as it is.

    V = c |y - z|^2 / (2 (1 + c (1 - t))) + d g^2 / 2 log(1 + c (1 - t)), with d numbers in a state

    Args:
        y, z: (batch, ...).
        t: Scalar or (batch,).
        c: > 0.
        g: >= 0.

    Returns:
        V (batch,).

    Derived in chapter 03, the noise in chapter 04.
    """
    gap = (y - z).flatten(1)
    spread = torch.as_tensor(1 + c * (1 - t), dtype=z.dtype, device=z.device)
    return c * squares(gap) / spread + gap.shape[1] * g**2 / 2 * spread.log()


# --- any linear plant ----------------------------------------------------------------------------------------------------


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
    """A linear plant with quadratic costs around the origin; all its matrices may have a batch in
    front.

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

    def plant(self, z, u, t):
        return apply(self.A, z) + apply(self.B, u)

    def running(self, z, u, t):
        return form(self.Q, z) + form(self.R, u)

    def terminal(self, z):
        return form(self.Q1, z)

    def gain(self, P: Float[Tensor, "... state state"]) -> Float[Tensor, "... control state"]:
        """K = R^-1 B'P, the minimizer of the HJB equation: u = -K z."""
        return torch.linalg.solve(self.R, self.B.mT @ P)

    def slope(self, P: Float[Tensor, "... state state"]) -> Float[Tensor, "... state state"]:
        """The Riccati equation, dP/dt = -(A'P + PA - P B R^-1 B'P + Q)."""
        return -(self.A.mT @ P + P @ self.A - P @ self.B @ self.gain(P) + self.Q)


def linearize(
    system: System, z: Float[Tensor, " state"], u: Float[Tensor, " control"]
) -> LinearQuadratic:
    """A system seen from close to a point of rest: first derivatives of its plant, second
    derivatives of its costs.

    A = df/dz, B = df/du, Q = d2l/dz2, R = d2l/du2, Q_1 = d2Phi/dz2, for the deviations from z and u

    Args:
        system: Whose plant and costs do not change with time.
        z: (state,) and `u` (control,) with f(z, u) = 0.

    Returns:
        A `LinearQuadratic`.

    Raises:
        UserError: When the plant moves there.

    Derived in chapter 03.
    """
    now = z.new_zeros(())

    def plant(z, u):
        return system.plant(z[None], u[None], now)[0]

    def running(z, u):
        return system.running(z[None], u[None], now)[0]

    if plant(z, u).abs().max() > 1e-5:
        raise UserError("the plant moves at this point: linearize where f(z, u) = 0")
    A, B = jacrev(plant, argnums=(0, 1))(z, u)
    return LinearQuadratic(
        A,
        B,
        hessian(running, 0)(z, u),
        hessian(running, 1)(z, u),
        hessian(lambda z: system.terminal(z[None])[0])(z),
    )


@dataclass(frozen=True)
class Riccati:
    """The solution of a Riccati equation: the cost-to-go V = z'Pz / 2 + g^2/2 int tr P, and its
    feedback, at any time.
    """

    system: LinearQuadratic
    times: Float[Tensor, " time"]
    P: Float[Tensor, "time ... state state"]
    traces: Float[Tensor, "time ..."]  # int_t^1 tr P(s) ds

    def at(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """P and the integral of its trace at a time between the recorded ones, by the cubic that
        has their slopes.
        """
        k = int(torch.searchsorted(self.times, float(t)).clamp(1, len(self.times) - 1))
        h = self.times[k] - self.times[k - 1]
        x = (t - self.times[k - 1]) / h
        (P, Pk), (q, qk) = self.P[k - 1 : k + 1], self.traces[k - 1 : k + 1]
        return (
            cubic(x, h, P, Pk, self.system.slope(P), self.system.slope(Pk)),
            cubic(x, h, q, qk, -trace(P), -trace(Pk)),
        )

    def law(
        self, z: Float[Tensor, "batch state"], t: Tensor | float
    ) -> Float[Tensor, "batch control"]:
        """The optimal feedback u = -R^-1 B'P(t) z."""
        return -apply(self.system.gain(self.at(t)[0]), z)

    def value(
        self, z: Float[Tensor, "batch state"], t: Tensor | float, g: float = 0.0
    ) -> Float[Tensor, " batch"]:
        """The cost-to-go V(z, t) = z'P(t)z / 2 + g^2/2 int_t^1 tr P(s) ds under noise g in every
        coordinate.
        """
        P, traces = self.at(t)
        return form(P, z) + g**2 / 2 * traces


def trace(P: Float[Tensor, "... n n"]) -> Tensor:
    """Sum of the diagonal of each matrix."""
    return P.diagonal(dim1=-2, dim2=-1).sum(-1)


def riccati(system: LinearQuadratic, times: Float[Tensor, " time"]) -> Riccati:
    """Solve the Riccati equation backwards from P = Q_1 at times[-1], together with the integral of
    its trace.

    dP/dt = -(A'P + PA - P B R^-1 B'P + Q)

    Args:
        system: The controlled system.
        times: (time,), increasing; the method has order 4.

    Returns:
        A `Riccati`, which knows P at any time.

    Derived in chapter 03.
    """
    n = system.state

    def slope(
        both: Tensor, t: Tensor
    ) -> Tensor:  # P, flat, and one more number: the integral of its trace
        P = both[..., :-1].unflatten(-1, (n, n))
        return torch.cat((system.slope(P).flatten(-2), -trace(P)[..., None]), dim=-1)

    start = torch.cat(
        (system.Q1.flatten(-2), torch.zeros_like(trace(system.Q1))[..., None]), dim=-1
    )
    both = integrate(slope, start, times.flip(0), "rk4").states.flip(0)
    return Riccati(system, times, both[..., :-1].unflatten(-1, (n, n)), both[..., -1])


def algebraic(system: LinearQuadratic) -> Float[Tensor, "... state state"]:
    """The constant P that the Riccati equation reaches far from the end, A'P + PA - P B R^-1 B'P +
    Q = 0.

    Costates are p = Pz along optimal paths, so the stable eigenvectors (x, p) of the Hamiltonian
    matrix H = [[A, -B R^-1 B'], [-Q, -A']] span the graph of P: with X and Y their halves, P = Y
    X^-1.

    Args:
        system: Which some feedback makes stable and whose Q sees every unstable motion.

    Returns:
        P (..., state, state).

    Raises:
        UserError: When the loop that it closes is not stable.

    Derived in chapter 03.
    """
    push = system.B @ torch.linalg.solve(system.R, system.B.mT)
    top, bottom = torch.cat((system.A, -push), dim=-1), torch.cat((-system.Q, -system.A.mT), dim=-1)
    rates, vectors = torch.linalg.eig(torch.cat((top, bottom), dim=-2))
    stable = rates.real.argsort(dim=-1)[..., None, : system.state]
    X, Y = vectors.gather(-1, stable.expand(*vectors.shape[:-1], -1)).chunk(2, dim=-2)
    P = torch.linalg.solve_ex(X.mT, Y.mT).result.mT.real
    P = (P + P.mT) / 2
    if not (
        P.isfinite().all()
        and torch.linalg.eigvals(system.A - system.B @ system.gain(P)).real.max() < 0
    ):
        raise UserError(
            "no constant P steers this plant to rest: B must reach, and Q must see, every unstable motion"
        )
    return P
