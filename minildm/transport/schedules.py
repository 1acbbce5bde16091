"""Schedules: the two coefficients of the path z_t = a(t) z_1 + b(t) z_0, and what follows from them."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """A path z_t = a(t) z_1 + b(t) z_0 from noise at t = 0 (a = 0, b = 1) to data at t = 1 (a = 1, b = 0)."""

    def a(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def b(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def da(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def db(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def log_snr(self, t: Tensor) -> Tensor:
        """lambda(t) = 2 log(a/b)."""
        return 2 * (self.a(t).log() - self.b(t).log())


@dataclass(frozen=True)
class Linear(Schedule):
    """The straight path of flow matching: a = t, b = 1 - t."""

    def a(self, t):
        return t

    def b(self, t):
        return 1 - t

    def da(self, t):
        return torch.ones_like(t)

    def db(self, t):
        return -torch.ones_like(t)


@dataclass(frozen=True)
class Tangent(Schedule):
    """The variance-preserving path tan-d: a = S / R, b = d C / R with S, C = sin, cos(pi t/2), R^2 = S^2 + d^2 C^2.

    Then b/a = d tan(pi (1-t)/2), lambda = -2 log(d tan(pi (1-t)/2)); d = 1 is the cosine schedule, larger d is noisier.
    """

    d: float = 3.0  # noise to signal at t = 1/2

    def parts(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s, c = torch.sin(math.pi / 2 * t), torch.cos(math.pi / 2 * t)
        return s, c, torch.sqrt(s**2 + self.d**2 * c**2)

    def a(self, t):
        s, _, r = self.parts(t)
        return s / r

    def b(self, t):
        _, c, r = self.parts(t)
        return (self.d * c / r).clamp(min=0)

    def da(self, t):
        _, c, r = self.parts(t)
        return math.pi / 2 * self.d**2 * c / r**3

    def db(self, t):
        s, _, r = self.parts(t)
        return -math.pi / 2 * self.d * s / r**3


def from_diffusion_time(s: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Our time from a diffusion paper's, t = 1 - s.

    Args: `s` (n,), 0 is data and 1 is noise. Returns t, 0 is noise and 1 is data. Derived in chapter 07. Source: ours.
    """
    return 1 - s


def expand(t: Float[Tensor, " batch"], x: Float[Tensor, "batch ..."]) -> Tensor:
    """Times in the shape (batch, 1, ..., 1), to go with states.

    Args: `t` (batch,); `x` (batch, ...), the states. Returns t (batch, 1, ..., 1). Derived in chapter 06. Source: ours.
    """
    return t.reshape(-1, *([1] * (x.dim() - 1)))


def interpolate(schedule: Schedule, z1: Tensor, z0: Tensor, t: Tensor) -> Tensor:
    """The point of the path, z_t = a(t) z_1 + b(t) z_0.

    Args: `schedule`; `z1`, `z0` (batch, ...); `t` (batch,). Returns z_t (batch, ...).
    Derived in chapter 06. Source: papers.md 2.5.
    """
    t = expand(t, z1)
    return schedule.a(t) * z1 + schedule.b(t) * z0


def noise_from_clean(schedule: Schedule, zt: Tensor, clean: Tensor, t: Tensor) -> Tensor:
    """The noise that a clean prediction implies, z_0 = (z_t - a z_1) / b.

    Args: `zt`, `clean` (batch, ...); `t` (batch,), below 1. Returns z_0 (batch, ...). Derived in chapter 07. Source: ours.
    """
    t = expand(t, zt)
    return (zt - schedule.a(t) * clean) / schedule.b(t)


def velocity_from_clean(schedule: Schedule, zt: Tensor, clean: Tensor, t: Tensor) -> Tensor:
    """The velocity that a clean prediction implies, u = a' z_1 + b' z_0 with z_0 = (z_t - a z_1) / b.

    Args: `zt`, `clean` (batch, ...); `t` (batch,), below 1. Returns u (batch, ...). Derived in chapter 07. Source: ours.
    """
    z0, t = noise_from_clean(schedule, zt, clean, t), expand(t, zt)
    return schedule.da(t) * clean + schedule.db(t) * z0
