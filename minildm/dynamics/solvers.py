"""Solvers: carry a state along a velocity field and record its path; every sampler and rollout goes
through here.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..errors import UserError
from .adaptive import DormandPrince
from .records import Field, Trajectory

Step = Callable[[Field, Tensor, Tensor, Tensor, torch.Generator | None], Tensor]


def euler(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 1 from time t to time s, z + (s - t) u(z, t).

    Args:
        field: The vector field.
        z: (batch, ...).
        t, s: Scalars.

    Returns:
        The state at s.
    """
    return z + (s - t) * field(z, t)


def heun(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 2, z + (s - t) (u(z, t) + u(z', s)) / 2 with z' from Euler.

    Args:
        field: The vector field.
        z: (batch, ...).
        t, s: Scalars.

    Returns:
        The state at s.
    """
    u = field(z, t)
    return z + (s - t) * (u + field(z + (s - t) * u, s)) / 2


def midpoint(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 2 through the middle, z + (s - t) u(z + (s - t)/2 u(z, t), (t + s)/2).

    Args:
        field: The vector field.
        z: (batch, ...).
        t, s: Scalars.

    Returns:
        The state at s.
    """
    middle = (t + s) / 2
    return z + (s - t) * field(z + (middle - t) * field(z, t), middle)


def rk4(field: Field, z: Tensor, t: Tensor, s: Tensor, rng=None) -> Tensor:
    """One step of order 4, z + (s - t) (k1 + 2 k2 + 2 k3 + k4) / 6, the classical method of Runge
    and Kutta.

    Args:
        field: The vector field.
        z: (batch, ...).
        t, s: Scalars.

    Returns:
        The state at s.
    """
    h, middle = s - t, (t + s) / 2
    k1 = field(z, t)
    k2 = field(z + h / 2 * k1, middle)
    k3 = field(z + h / 2 * k2, middle)
    k4 = field(z + h * k3, s)
    return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def euler_maruyama(g: float) -> Step:
    """The step of dz = u(z, t) dt + g dW: z + (s - t) u(z, t) + g sqrt(s - t) xi, xi ~ N(0, I).

    Args:
        g: >= 0, the noise in units of z over the square root of time.

    Returns:
        A step for `integrate`, which needs `rng`.
    """

    def step(field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator) -> Tensor:
        xi = torch.randn(z.shape, generator=rng, device=z.device, dtype=z.dtype)
        return z + (s - t) * field(z, t) + g * (s - t).sqrt() * xi

    return step


def cubic(
    x: Tensor | float, h: Tensor | float, a: Tensor, b: Tensor, da: Tensor, db: Tensor
) -> Tensor:
    """The path inside a step: the cubic with both its ends and both its slopes, of order 4.

    a (1 + 2x) (1 - x)^2 + b x^2 (3 - 2x) + h x (1 - x) ((1 - x) a' - x b')

    Args:
        x: In [0, 1], the share of the step of length `h`.
        a, b: The ends, `da`, `db` the rates of change there, of any one shape.

    Returns:
        The state at x.
    """
    return (
        a * (1 + 2 * x) * (1 - x) ** 2
        + b * x**2 * (3 - 2 * x)
        + h * x * (1 - x) * ((1 - x) * da - x * db)
    )


STEPS: dict[str, Step] = {"euler": euler, "heun": heun, "midpoint": midpoint, "rk4": rk4}


def step_of(method: str | Step) -> Step:
    """The step function that a name of STEPS stands for; a step function stands for itself.

    Args: `method`. Returns a step. Raises UserError on an unknown name. Derived in chapter 08. Source: ours.
    """
    if isinstance(method, str) and method not in STEPS:
        raise UserError(f"no solver {method!r}: choose one of {', '.join(STEPS)}")
    return STEPS[method] if isinstance(method, str) else method


def check_times(times: Float[Tensor, "time ..."]) -> None:
    """Refuse times that are not finite, or that turn around on their way.

    Args:
        times: (time, ...).

    Raises:
        UserError: Too, when there is no time at all.
    """
    if not len(times) or not times.isfinite().all():
        raise UserError("the times of a path must be finite numbers, and at least one")
    ahead = times.diff(dim=0)
    if (ahead > 0).any() and (ahead < 0).any():
        raise UserError("the times of a path must rise all the way or fall all the way: sort them")


def integrate(
    field: Field | None,
    start: Shaped[Tensor, "batch ..."],
    times: Float[Tensor, "time ..."],
    method: str | Step = "euler",
    rng: torch.Generator | None = None,
    record: bool = True,
) -> Trajectory:
    """Solve dz/dt = u(z, t) over the given times.

    z_{k+1} = step(u, z_k, t_k, t_{k+1})

    Args:
        field: (z, t) -> u.
        start: (batch, ...), the state at times[0], of numbers or tokens.
        times: (time,), in either direction, or (time, ...) where parts of a state have times of
            their own.
        method: A name of STEPS, a step function, which may use `rng`, or a `DormandPrince`, which
            takes steps of its own between the times and records them.
        record: Else only start and end are kept.

    Returns:
        A `Trajectory`.

    Raises:
        UserError: On an unknown method, and on times that are not finite or turn around.

    Derived in chapter 08.
    """
    check_times(times)
    if isinstance(method, DormandPrince) and record:
        moments, states = zip((times[0], start), *method.walk(field, start, times))
        return Trajectory(torch.stack(moments), torch.stack(states))
    step, z, states = step_of(method), start, [start]
    for t, s in pairwise(times):
        z = step(field, z, t, s, rng)
        states.append(z) if record or len(states) == 1 else states.__setitem__(1, z)
    return Trajectory(times if record else times[[0, -1]], torch.stack(states))
