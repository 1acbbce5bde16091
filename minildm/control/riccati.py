"""The Riccati equation: its solution back from the end, its feedback, its constant solution."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.linalg import eig, eigvals, solve, solve_unchecked
from ..dynamics.solvers import cubic, integrate
from ..errors import UserError
from .linear_quadratic import LinearQuadratic, apply, form


def trace(P: Float[Tensor, "... n n"]) -> Tensor:
    """Sum of the diagonal of each matrix."""
    return P.diagonal(dim1=-2, dim2=-1).sum(-1)


@dataclass(frozen=True)
class Riccati:
    """The solution of a Riccati equation, and its cost-to-go and feedback at any time.

    V = z'Pz / 2 + g^2/2 int tr P
    """

    system: LinearQuadratic
    times: Float[Tensor, " time"]
    P: Float[Tensor, "time ... state state"]
    traces: Float[Tensor, "time ..."]  # int_t^1 tr P(s) ds

    def at(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """P and the integral of its trace at any time, by the cubic that has their slopes."""
        k = int(torch.searchsorted(self.times, float(t)).clamp(1, len(self.times) - 1))
        h = self.times[k] - self.times[k - 1]
        x = (t - self.times[k - 1]) / h
        P, Pk = self.P[k - 1], self.P[k]
        q, qk = self.traces[k - 1], self.traces[k]
        return (
            cubic(x, h, P, Pk, self.system.slope(P), self.system.slope(Pk)),
            cubic(x, h, q, qk, -trace(P), -trace(Pk)),
        )

    def policy(
        self, z: Float[Tensor, "batch state"], t: Tensor | float
    ) -> Float[Tensor, "batch control"]:
        """The optimal feedback u = -R^-1 B'P(t) z."""
        return -apply(self.system.gain(self.at(t)[0]), z)

    def value(
        self, z: Float[Tensor, "batch state"], t: Tensor | float, g: float = 0.0
    ) -> Float[Tensor, " batch"]:
        """The cost-to-go V(z, t) under noise in every coordinate.

        V(z, t) = z'P(t)z / 2 + g^2/2 int_t^1 tr P(s) ds

        Args:
            z: State (batch, state).
            t: Time, a scalar.
            g: Noise >= 0.

        Returns:
            V (batch,).
        """
        P, traces = self.at(t)
        return form(P, z) + g**2 / 2 * traces


def riccati(system: LinearQuadratic, times: Float[Tensor, " time"]) -> Riccati:
    """Solve the Riccati equation backwards from P = Q_1, together with the integral of its trace.

    dP/dt = -(A'P + PA - P B R^-1 B'P + Q)

    Args:
        system: The controlled system.
        times: Increasing times (time,); the method has order 4.

    Returns:
        A `Riccati`, which knows P at any time.

    Derived in chapter 03.
    """

    def matrix(both: Tensor) -> Tensor:
        return both[..., :-1].reshape(*both.shape[:-1], system.state, system.state)

    def flat(P: Tensor, integral: Tensor) -> Tensor:
        return torch.cat((P.flatten(-2), integral[..., None]), dim=-1)

    def slope(both: Tensor, t: Tensor) -> Tensor:
        P = matrix(both)
        return flat(system.slope(P), -trace(P))

    end = flat(system.Q1, torch.zeros_like(trace(system.Q1)))
    both = integrate(slope, end, times.flip(0), "rk4").states.flip(0)
    return Riccati(system, times, matrix(both), both[..., -1])


def algebraic(system: LinearQuadratic) -> Float[Tensor, "... state state"]:
    """The constant P that the Riccati equation reaches far from the end.

    A'P + PA - P B R^-1 B'P + Q = 0

    Costates are p = Pz along optimal paths, so the stable eigenvectors (x, p) of the Hamiltonian
    matrix H = [[A, -B R^-1 B'], [-Q, -A']] span the graph of P: with X and Y their halves, P = Y
    X^-1.

    Args:
        system: The controlled system; some feedback must make it stable, and Q must cost every
            unstable mode.

    Returns:
        P (..., state, state).

    Raises:
        UserError: When the loop that it closes is not stable.

    Derived in chapter 03.
    """
    top = torch.cat((system.A, -system.B @ solve(system.R, system.B.mT)), dim=-1)
    bottom = torch.cat((-system.Q, -system.A.mT), dim=-1)
    rates, vectors = eig(torch.cat((top, bottom), dim=-2))
    stable = rates.real.argsort(dim=-1)[..., None, : system.state]
    X, Y = vectors.gather(-1, stable.expand(*vectors.shape[:-1], -1)).chunk(2, dim=-2)
    graph = solve_unchecked(X.mT, Y.mT).mT.real
    P = (graph + graph.mT) / 2
    closed = system.A - system.B @ system.gain(P)
    if not (P.isfinite().all() and eigvals(closed).real.max() < 0):
        raise UserError(
            "no constant P steers this plant to rest: B must control, and Q must cost, "
            "every unstable mode"
        )
    return P
