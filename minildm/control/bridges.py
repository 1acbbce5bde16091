"""Control against noise: the log transform, Doob's transform and the Brownian bridge."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.jacobians import gradient
from ..dynamics.records import Field
from ..dynamics.solvers import Step
from ..errors import UserError

# (state (batch, d), time scalar or (batch,)) -> one number (batch,): log h, or V
LogH = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Mixture:
    """A sum of round Gaussians, sum_k exp(l_k) N(z; m_k, v_k I).

    It is a probability distribution if its weights add up to one, else only a weight. Variances of
    zero make a cloud of points.
    """

    log_weights: Float[Tensor, " k"]  # l_k
    means: Float[Tensor, "k d"]  # m_k
    variances: Float[Tensor, " k"]  # v_k

    def log_density(
        self, z: Float[Tensor, "batch d"], spread: Tensor | float = 0.0
    ) -> Float[Tensor, " batch"]:
        """The logarithm of the mixture, blurred by Gaussian noise.

        log sum_k exp(l_k) N(z; m_k, (v_k + spread) I)

        Args:
            z: Points (batch, d).
            spread: Variance of the noise, a scalar or (batch,).

        Returns:
            One number (batch,) for each point.
        """
        variances = self.variances + torch.as_tensor(spread)[..., None]
        squared = (z[:, None] - self.means).square().sum(-1)
        logits = self.log_weights - squared / (2 * variances)
        return (logits - z.shape[-1] / 2 * torch.log(2 * torch.pi * variances)).logsumexp(-1)

    def sample(self, count: int, rng: torch.Generator) -> Float[Tensor, "count d"]:
        """Draw points from the distribution with weights proportional to exp(l_k).

        Args:
            count: Number of points.
            rng: Generator of the random numbers.

        Returns:
            Points (count, d).
        """
        k = torch.multinomial(self.log_weights.softmax(0), count, replacement=True, generator=rng)
        xi = torch.randn(count, self.means.shape[1], generator=rng, dtype=self.means.dtype)
        return self.means[k] + self.variances[k].sqrt()[:, None] * xi


# --- Doob's transform -----------------------------------------------------------------------------


def mixture_h(weight: Mixture, g: float) -> LogH:
    """The log h of Brownian motion with noise g whose terminal weight psi is a Gaussian mixture.

    h(z, t) = E[psi(Z_1) | Z_t = z] = sum_k exp(l_k) N(z; m_k, (v_k + g^2 (1 - t)) I)

    Args:
        weight: The terminal weight psi.
        g: Noise > 0.

    Returns:
        A function of z (batch, d) and t.

    Derived in chapter 04.
    """
    return lambda z, t: weight.log_density(z, g**2 * (1 - t))


def quadrature_h(log_psi: Callable[[Tensor], Tensor], g: float, nodes: int = 64) -> LogH:
    """The log h of Brownian motion with noise g for any smooth terminal weight psi.

    h(z, t) = E[psi(Z_1) | Z_t = z] = sum_i w_i psi(z + g sqrt(1 - t) x_i),  sum_i w_i = 1

    by Gauss-Hermite quadrature in each direction.

    Args:
        log_psi: Points (batch, d) -> log psi (batch,).
        g: Noise >= 0.
        nodes: Number of nodes in one direction, of which d directions make nodes^d points.

    Returns:
        A function of z (batch, d) and t.

    Derived in chapter 04.
    """
    x, w = (torch.tensor(each) for each in np.polynomial.hermite_e.hermegauss(nodes))
    log_w = (w / w.sum()).log()

    def log_h(z: Tensor, t: Tensor) -> Tensor:
        d = z.shape[-1]
        points = torch.cartesian_prod(*[x.to(z)] * d).reshape(-1, d)
        weights = torch.cartesian_prod(*[log_w.to(z)] * d).reshape(-1, d).sum(-1)
        ends = z[:, None] + g * (1 - torch.as_tensor(t)).sqrt() * points
        return (weights + log_psi(ends.flatten(0, 1)).reshape(len(z), -1)).logsumexp(-1)

    return log_h


def log_transform(log_h: LogH, g: float) -> LogH:
    """The cost-to-go V = -g^2 log h of least effort under noise, with terminal cost -g^2 log psi.

    Args:
        log_h: A function of z (batch, d) and t.
        g: Noise > 0.

    Returns:
        The function V(z, t), (batch,).

    Derived in chapter 04.
    """
    return lambda z, t: -(g**2) * log_h(z, t)


def doob(log_h: LogH, g: float) -> Field:
    """The drift that weights Brownian motion by psi at its end, u = g^2 grad log h = -grad V.

    Args:
        log_h: A function of z (batch, d) and t.
        g: Noise > 0.

    Returns:
        A field (z (batch, d), t) -> u (batch, d).

    Derived in chapter 04.
    """
    return lambda z, t: g**2 * gradient(lambda z: log_h(z, t), z)


# --- the Brownian bridge --------------------------------------------------------------------------


@dataclass(frozen=True)
class Normal:
    """A round Gaussian for each row of a batch, all with the same variance of each coordinate."""

    mean: Float[Tensor, "batch ..."]
    variance: Float[Tensor, ""]


def bridge(
    z: Float[Tensor, "batch ..."],
    y: Float[Tensor, "batch ..."],
    t: Tensor | float,
    s: Tensor | float,
    g: float,
) -> Normal:
    """Where Brownian motion is at time s if it is at z at time t and will be at y at time 1.

    mean = z + (s - t)/(1 - t) (y - z),  variance = g^2 (s - t)(1 - s)/(1 - t)

    From t = 0 the variance is g^2 s (1 - s).

    Args:
        z: State (batch, ...) at time t.
        y: State (batch, ...) at time 1.
        t: Time of z, a scalar below 1.
        s: Time in [t, 1], a scalar.
        g: Noise >= 0.

    Returns:
        A `Normal`.

    Derived in chapter 04.
    """
    t, s = torch.as_tensor(t, dtype=z.dtype), torch.as_tensor(s, dtype=z.dtype)
    return Normal(z + (s - t) / (1 - t) * (y - z), g**2 * (s - t) * (1 - s) / (1 - t))


def bridge_step(y: Float[Tensor, "batch ..."], g: float) -> Step:
    """The exact step of the Brownian bridge to y, of any length: a draw of `bridge`.

    z_s = z + (s - t)/(1 - t) (y - z) + g sqrt((s - t)(1 - s)/(1 - t)) xi

    Args:
        y: State (batch, ...) at time 1.
        g: Noise >= 0.

    Returns:
        A step for `integrate`, which needs `rng` and no field; the times end at 1 or before.

    Raises:
        UserError: On a time beyond 1.

    Derived in chapter 04.
    """

    def step(
        field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        if s > 1:
            raise UserError(f"a bridge ends at time 1, not at {float(s):g}: choose times in [0, 1]")
        found = bridge(z, y, t, s, g)
        xi = torch.randn(z.shape, generator=rng, device=z.device, dtype=z.dtype)
        return found.mean + found.variance.sqrt() * xi

    return step
