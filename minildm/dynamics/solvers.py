"""Solvers: carry a state along a velocity field and record its path; every sampler and rollout goes through here."""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from .records import Trajectory

Field = Callable[[Tensor, Tensor], Tensor]  # (state (batch, ...), time scalar) -> velocity (batch, ...)
Step = Callable[[Field, Tensor, Tensor, Tensor, torch.Generator | None], Tensor]


def euler(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 1 from time t to time s, z + (s - t) u(z, t).

    Args: `field`; `z` (batch, ...); `t`, `s` scalars. Returns the state at s. Derived in chapter 08. Source: textbook.
    """
    return z + (s - t) * field(z, t)


def heun(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 2, z + (s - t) (u(z, t) + u(z', s)) / 2 with z' from Euler.

    Args: `field`; `z` (batch, ...); `t`, `s` scalars. Returns the state at s. Derived in chapter 08. Source: textbook.
    """
    u = field(z, t)
    return z + (s - t) * (u + field(z + (s - t) * u, s)) / 2


def midpoint(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 2 through the middle, z + (s - t) u(z + (s - t)/2 u(z, t), (t + s)/2).

    Args: `field`; `z` (batch, ...); `t`, `s` scalars. Returns the state at s. Derived in chapter 08. Source: textbook.
    """
    middle = (t + s) / 2
    return z + (s - t) * field(z + (middle - t) * field(z, t), middle)


def rk4(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 4, z + (s - t) (k1 + 2 k2 + 2 k3 + k4) / 6, the classical method of Runge and Kutta.

    Args: `field`; `z` (batch, ...); `t`, `s` scalars. Returns the state at s. Derived in chapter 08. Source: textbook.
    """
    h, middle = s - t, (t + s) / 2
    k1 = field(z, t)
    k2 = field(z + h / 2 * k1, middle)
    k3 = field(z + h / 2 * k2, middle)
    k4 = field(z + h * k3, s)
    return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def euler_maruyama(g: float) -> Step:
    """The step of dz = u(z, t) dt + g dW: z + (s - t) u(z, t) + g sqrt(s - t) xi, xi ~ N(0, I).

    Args: `g` >= 0, the noise in units of z over the square root of time. Returns a step for `integrate`, which needs `rng`.
    Derived in chapter 04. Source: textbook.
    """
    def step(field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator) -> Tensor:
        xi = torch.randn(z.shape, generator=rng, device=z.device, dtype=z.dtype)
        return z + (s - t) * field(z, t) + g * (s - t).sqrt() * xi
    return step


STEPS: dict[str, Step] = {"euler": euler, "heun": heun, "midpoint": midpoint, "rk4": rk4}


def integrate(field: Field, start: Float[Tensor, "batch ..."], times: Float[Tensor, " time"],
              method: str | Step = "euler", rng: torch.Generator | None = None, record: bool = True) -> Trajectory:
    """Solve dz/dt = u(z, t) over the given times.

    z_{k+1} = step(u, z_k, t_k, t_{k+1})
    Args: `field`, (z, t) -> u; `start` (batch, ...), the state at times[0]; `times` (time,), in either direction; `method`,
    a name of STEPS or a step function, which may use `rng`; `record`, else only start and end are kept.
    Returns a `Trajectory`. Raises UserError on an unknown method. Derived in chapter 08. Source: ours.
    """
    if isinstance(method, str) and method not in STEPS:
        raise UserError(f"no solver {method!r}: choose one of {', '.join(STEPS)}")
    step = STEPS[method] if isinstance(method, str) else method
    z, states = start, [start]
    for t, s in pairwise(times):
        z = step(field, z, t, s, rng)
        states.append(z) if record or len(states) == 1 else states.__setitem__(1, z)
    return Trajectory(times if record else times[[0, -1]], torch.stack(states))
