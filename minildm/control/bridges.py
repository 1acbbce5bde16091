"""Control against noise: the log transform that makes it linear, Doob's transform, and the Brownian
bridge.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad

from ..dynamics.solvers import Field, Step
from ..errors import UserError

LogH = Callable[
    [Tensor, Tensor], Tensor
]  # (state (batch, d), time scalar or (batch,)) -> log h(z, t), (batch,)


@dataclass(frozen=True)
class Mixture:
    """A sum of round Gaussians, sum_k exp(l_k) N(z; m_k, v_k I): a law if its weights add up to
    one, else only a weight.

    Variances of zero make a cloud of points.
    """

    log_weights: Float[Tensor, " k"]  # l_k
    means: Float[Tensor, "k d"]  # m_k
    variances: Float[Tensor, " k"]  # v_k

    def log_density(
        self, z: Float[Tensor, "batch d"], spread: Tensor | float = 0.0
    ) -> Float[Tensor, " batch"]:
        """log sum_k exp(l_k) N(z; m_k, (v_k + spread) I), blurred by a `spread`, scalar or
        (batch,).
        """
        variances = self.variances + torch.as_tensor(spread)[..., None]
        squared = (z[:, None] - self.means).square().sum(-1)
        return (
            self.log_weights
            - squared / (2 * variances)
            - z.shape[-1] / 2 * torch.log(2 * torch.pi * variances)
        ).logsumexp(-1)

    def sample(self, count: int, rng: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw points of the law whose weights are proportional to exp(l_k)."""
        k = torch.multinomial(self.log_weights.softmax(0), count, replacement=True, generator=rng)
        xi = torch.randn(count, self.means.shape[1], generator=rng, dtype=self.means.dtype)
        return self.means[k] + self.variances[k].sqrt()[:, None] * xi


# --- Doob's transform ------------------------------------------------------------------------------------------------


def mixture_h(weight: Mixture, g: float) -> LogH:
    """log h of Brownian motion with noise g, when the terminal weight psi is a Gaussian mixture.

    h(z, t) = E[psi(Z_1) | Z_t = z] = sum_k exp(l_k) N(z; m_k, (v_k + g^2 (1 - t)) I)

    Args:
        weight: psi.
        g: > 0.

    Returns:
        A function of z (batch, d) and t.

    Derived in chapter 04.
    """
    return lambda z, t: weight.log_density(z, g**2 * (1 - t))


def quadrature_h(log_psi: Callable[[Tensor], Tensor], g: float, nodes: int = 64) -> LogH:
    """log h of Brownian motion with noise g for any smooth terminal weight, by Gauss-Hermite
    quadrature in each direction.

    h(z, t) = E[psi(Z_1) | Z_t = z] = sum_i w_i psi(z + g sqrt(1 - t) x_i),  sum_i w_i = 1

    Args:
        log_psi: (batch, d) -> (batch,).
        g: >= 0.
        nodes: In one direction, of which d make nodes^d points.

    Returns:
        A function of z (batch, d) and t.

    Derived in chapter 04.
    """
    x, w = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(nodes))
    log_w = (w / w.sum()).log()

    def log_h(z: Tensor, t: Tensor) -> Tensor:
        d = z.shape[-1]
        points = torch.cartesian_prod(*[x.to(z)] * d).reshape(-1, d)
        weights = torch.cartesian_prod(*[log_w.to(z)] * d).reshape(-1, d).sum(-1)
        ends = z[:, None] + g * (1 - torch.as_tensor(t)).sqrt() * points
        return (weights + log_psi(ends.flatten(0, 1)).reshape(len(z), -1)).logsumexp(-1)

    return log_h


def log_transform(log_h: LogH, g: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The cost-to-go of least effort under noise g with terminal cost -g^2 log psi: V = -g^2 log h.

    Args: `log_h`; `g` > 0. Returns the function V(z, t), (batch,). Derived in chapter 04. Source: textbook.
    """
    return lambda z, t: -(g**2) * log_h(z, t)


def doob(log_h: LogH, g: float) -> Field:
    """The drift that turns Brownian motion into Brownian motion weighted by psi at its end: u = g^2 grad log h = -grad V.

    Args: `log_h`; `g` > 0. Returns a field (z (batch, d), t) -> u (batch, d). Derived in chapter 04. Source: textbook.
    """
    return lambda z, t: g**2 * grad(lambda z: log_h(z, t).sum())(z)


# --- the Brownian bridge ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normal:
    """A round Gaussian for each row of a batch: mean (batch, ...), and the variance of each
    coordinate, one for all rows.
    """

    mean: Float[Tensor, "batch ..."]
    variance: Float[Tensor, ""]


def bridge(
    z: Float[Tensor, "batch ..."],
    y: Float[Tensor, "batch ..."],
    t: Tensor | float,
    s: Tensor | float,
    g: float,
) -> Normal:
    """Where Brownian motion with noise g is at time s, when it is at z at time t and will be at y
    at time 1.

    mean = z + (s - t)/(1 - t) (y - z),  variance = g^2 (s - t)(1 - s)/(1 - t);  from t = 0: g^2 s
    (1 - s)

    Args:
        z, y: (batch, ...).
        t: <= `s` <= 1, scalars, t < 1.
        g: >= 0.

    Returns:
        A `Normal`.

    Derived in chapter 04.
    """
    t, s = torch.as_tensor(t, dtype=z.dtype), torch.as_tensor(s, dtype=z.dtype)
    return Normal(z + (s - t) / (1 - t) * (y - z), g**2 * (s - t) * (1 - s) / (1 - t))


def bridge_step(y: Float[Tensor, "batch ..."], g: float) -> Step:
    """The exact step of the Brownian bridge to y, of any length: a draw of `bridge`. It needs no
    field.

    z_s = z + (s - t)/(1 - t) (y - z) + g sqrt((s - t)(1 - s)/(1 - t)) xi

    Args:
        y: (batch, ...).
        g: >= 0.

    Returns:
        A step for `integrate`, which needs `rng`; the times end at 1 or before.

    Raises:
        UserError: On a time beyond 1.

    Derived in chapter 04.
    """

    def step(field: Field | None, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator) -> Tensor:
        if s > 1:
            raise UserError(f"a bridge ends at time 1, not at {float(s):g}: choose times in [0, 1]")
        law = bridge(z, y, t, s, g)
        xi = torch.randn(z.shape, generator=rng, device=z.device, dtype=z.dtype)
        return law.mean + law.variance.sqrt() * xi

    return step
