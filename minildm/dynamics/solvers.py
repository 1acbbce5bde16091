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
    """One step of order 2, z + (s - t) (u(z, t) + u(z', s)) / 2 with z' from Euler; Euler where the field ends at s = 1.

    Args: `field`; `z` (batch, ...); `t`, `s` scalars. Returns the state at s. Derived in chapter 08. Source: textbook.
    """
    u = field(z, t)
    ahead = z + (s - t) * u
    return ahead if s >= 1 else z + (s - t) * (u + field(ahead, s)) / 2


def midpoint(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 2 through the middle, z + (s - t) u(z + (s - t)/2 u(z, t), (t + s)/2).

    Args: `field`; `z` (batch, ...); `t`, `s` scalars. Returns the state at s. Derived in chapter 08. Source: textbook.
    """
    middle = (t + s) / 2
    return z + (s - t) * field(z + (middle - t) * field(z, t), middle)


STEPS: dict[str, Step] = {"euler": euler, "heun": heun, "midpoint": midpoint}


def integrate(field: Field, start: Float[Tensor, "batch ..."], times: Float[Tensor, " time"],
              method: str | Step = "euler", rng: torch.Generator | None = None, record: bool = True) -> Trajectory:
    """Solve dz/dt = u(z, t) over the given times.

    z_{k+1} = step(u, z_k, t_k, t_{k+1})
    Args: `field`, (z, t) -> u; `start` (batch, ...), the state at times[0]; `times` (time,), increasing; `method`, a name of
    STEPS or a step function, which may use `rng`; `record`, else only start and end are kept.
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
