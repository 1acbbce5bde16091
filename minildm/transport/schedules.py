"""Schedules: the two coefficients of a path z_t = a(t) z_1 + b(t) z_0, and what follows."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """A path z_t = a(t) z_1 + b(t) z_0 from noise at t = 0 to data at t = 1.

    a(0) = 0, b(0) = 1;  a(1) = 1, b(1) = 0
    """

    def a(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def b(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def da(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def db(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def velocity(self, z1: Tensor, z0: Tensor, t: Tensor) -> Tensor:
        """Slope of the path, a'(t) z_1 + b'(t) z_0."""
        return self.da(t) * z1 + self.db(t) * z0

    def log_snr(self, t: Tensor) -> Tensor:
        """lambda(t) = 2 log(a/b), from minus infinity at t = 0 to infinity at t = 1."""
        return 2 * (self.a(t).log() - self.b(t).log())

    def log_snr_slope(self, t: Tensor) -> Tensor:
        """d lambda/dt = 2 (a'/a - b'/b), positive, and infinite at both ends."""
        return 2 * (self.da(t) / self.a(t) - self.db(t) / self.b(t))

    def from_log_snr(self, log_snr: Tensor) -> Tensor:
        """The time at which lambda(t) is this."""
        raise NotImplementedError

    def noise_rate(self, t: Tensor) -> Tensor:
        """g^2 = b^2 lambda'(t) = 2 b (a' b - a b')/a of the SDE between noise and data.

        It is infinite at t = 0.
        """
        a = self.a(t)
        b = self.b(t)
        return 2 * b * (self.da(t) * b - a * self.db(t)) / a


@dataclass(frozen=True)
class Linear(Schedule):
    """The straight path of flow matching: a = t, b = 1 - t; lambda = 2 log(t/(1-t))."""

    def a(self, t: Tensor) -> Tensor:
        return t

    def b(self, t: Tensor) -> Tensor:
        return 1 - t

    def da(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def db(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)

    def velocity(self, z1: Tensor, z0: Tensor, t: Tensor) -> Tensor:
        return z1 - z0

    def from_log_snr(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(log_snr / 2)


@dataclass(frozen=True)
class Cosine(Schedule):
    """The path along a quarter of a circle at constant speed: a = sin(pi t/2), b = cos(pi t/2)."""

    def a(self, t: Tensor) -> Tensor:
        return torch.sin(math.pi / 2 * t)

    def b(self, t: Tensor) -> Tensor:
        return torch.cos(math.pi / 2 * t).clamp(min=0)

    def da(self, t: Tensor) -> Tensor:
        return math.pi / 2 * torch.cos(math.pi / 2 * t)

    def db(self, t: Tensor) -> Tensor:
        return -math.pi / 2 * torch.sin(math.pi / 2 * t)

    def from_log_snr(self, log_snr: Tensor) -> Tensor:
        return 2 / math.pi * torch.atan(torch.exp(log_snr / 2))


@dataclass(frozen=True)
class Tangent(Schedule):
    """The variance-preserving path tan-d: a = S / R, b = d C / R.

    S, C = sin, cos(pi t/2),  R^2 = S^2 + d^2 C^2

    Then b/a = d tan(pi (1-t)/2) and lambda = -2 log(d tan(pi (1-t)/2)). It is `Cosine` for d = 1,
    and noisier for larger d.
    """

    d: float = 3.0  # noise to signal at t = 1/2

    def parts(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """S, C and R."""
        s = torch.sin(math.pi / 2 * t)
        c = torch.cos(math.pi / 2 * t)
        return s, c, torch.sqrt(s**2 + self.d**2 * c**2)

    def a(self, t: Tensor) -> Tensor:
        s, _, r = self.parts(t)
        return s / r

    def b(self, t: Tensor) -> Tensor:
        _, c, r = self.parts(t)
        return (self.d * c / r).clamp(min=0)

    def da(self, t: Tensor) -> Tensor:
        _, c, r = self.parts(t)
        return math.pi / 2 * self.d**2 * c / r**3

    def db(self, t: Tensor) -> Tensor:
        s, _, r = self.parts(t)
        return -math.pi / 2 * self.d * s / r**3

    def from_log_snr(self, log_snr: Tensor) -> Tensor:
        return 2 / math.pi * torch.atan(self.d * torch.exp(log_snr / 2))


def from_diffusion_time(s: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Our time from the time of a diffusion paper, t = 1 - s.

    Args:
        s: (n,), 0 is data and 1 is noise.

    Returns:
        t (n,), 0 is noise and 1 is data.
    """
    return 1 - s


def expand(t: Float[Tensor, "..."], x: Float[Tensor, "batch ..."]) -> Tensor:
    """Times in a shape that multiplies states, such as (batch, 1, ..., 1).

    Args:
        t: Times, (batch,) or (batch, n).
        x: States (batch, ...).

    Returns:
        t with as many axes as `x`.
    """
    return t.reshape(*t.shape, *([1] * (x.dim() - t.dim())))
