"""Solvers: carry a state along a velocity field and record its path.

Every sampler and every rollout goes through `integrate`.
"""

from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..errors import UserError
from .adaptive import DormandPrince
from .records import Field, Trajectory


@runtime_checkable
class Step(Protocol):
    """One step of a solver: the state at time s from the state z at time t, (batch, ...)."""

    def __call__(
        self, field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None, /
    ) -> Tensor: ...


def euler(
    field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
) -> Tensor:
    """One step of order 1 from time t to time s, z + (s - t) u(z, t).

    Args:
        field: The vector field.
        z: State (batch, ...) at time t.
        t: Time at which the step begins.
        s: Time at which it ends.
        rng: Not used.

    Returns:
        The state (batch, ...) at s.
    """
    return z + (s - t) * field(z, t)


def heun(
    field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
) -> Tensor:
    """One step of order 2, z + (s - t) (u(z, t) + u(z', s)) / 2 with z' from Euler.

    Args:
        field: The vector field.
        z: State (batch, ...) at time t.
        t: Time at which the step begins.
        s: Time at which it ends.
        rng: Not used.

    Returns:
        The state (batch, ...) at s.
    """
    u = field(z, t)
    return z + (s - t) * (u + field(z + (s - t) * u, s)) / 2


def midpoint(
    field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
) -> Tensor:
    """One step of order 2 through the middle, z + (s - t) u(z + (s - t)/2 u(z, t), (t + s)/2).

    Args:
        field: The vector field.
        z: State (batch, ...) at time t.
        t: Time at which the step begins.
        s: Time at which it ends.
        rng: Not used.

    Returns:
        The state (batch, ...) at s.
    """
    middle = (t + s) / 2
    return z + (s - t) * field(z + (middle - t) * field(z, t), middle)


def rk4(
    field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
) -> Tensor:
    """One step of order 4, the method of Runge and Kutta, z + (s - t) (k1 + 2 k2 + 2 k3 + k4) / 6.

    Args:
        field: The vector field.
        z: State (batch, ...) at time t.
        t: Time at which the step begins.
        s: Time at which it ends.
        rng: Not used.

    Returns:
        The state (batch, ...) at s.
    """
    h = s - t
    middle = (t + s) / 2
    k1 = field(z, t)
    k2 = field(z + h / 2 * k1, middle)
    k3 = field(z + h / 2 * k2, middle)
    k4 = field(z + h * k3, s)
    return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def euler_maruyama(g: float) -> Step:
    """The step of dz = u(z, t) dt + g dW: z + (s - t) u(z, t) + g sqrt(s - t) xi, xi ~ N(0, I).

    Args:
        g: Noise >= 0, in units of z over the square root of time.

    Returns:
        A step for `integrate`, which needs `rng`.
    """

    def step(
        field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        xi = torch.randn(z.shape, generator=rng, device=z.device, dtype=z.dtype)
        return z + (s - t) * field(z, t) + g * (s - t).sqrt() * xi

    return step


def cubic(
    x: Tensor | float, h: Tensor | float, a: Tensor, b: Tensor, da: Tensor, db: Tensor
) -> Tensor:
    """The path inside a step: the cubic that has both its ends and both its slopes, of order 4.

    a (1 + 2x) (1 - x)^2 + b x^2 (3 - 2x) + h x (1 - x) ((1 - x) a' - x b')

    Args:
        x: Fraction of the step, in [0, 1].
        h: Length of the step.
        a: State at its start, of any shape.
        b: State at its end.
        da: Rate of change a' at its start.
        db: Rate of change b' at its end.

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

    Args:
        method: A name of STEPS or a step function.

    Returns:
        A step function.

    Raises:
        UserError: On an unknown name.
    """
    if not isinstance(method, str):
        return method
    if method not in STEPS:
        raise UserError(f"no solver {method!r}: choose one of {', '.join(STEPS)}")
    return STEPS[method]


def check_times(times: Float[Tensor, "time ..."]) -> None:
    """Refuse times that are not finite, or that turn around on their way.

    Args:
        times: Times (time, ...).

    Raises:
        UserError: On such times, and when there are none.
    """
    if not len(times) or not times.isfinite().all():
        raise UserError("the times of a path must be finite numbers, and at least one")
    gaps = times.diff(dim=0)
    if (gaps > 0).any() and (gaps < 0).any():
        raise UserError("the times of a path must rise all the way or fall all the way: sort them")


def at_rest(z: Tensor, t: Tensor) -> Tensor:
    """The field of a state that does not move, u = 0."""
    return torch.zeros_like(z)


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
        field: The vector field (z, t) -> u; None is the field at rest, for steps that need none.
        start: State (batch, ...) at times[0], of numbers or tokens.
        times: Times (time,) in either direction, or (time, ...) where parts of a state have times
            of their own.
        method: A name of STEPS, a step function, which may use `rng`, or a `DormandPrince`, which
            takes steps of its own between the times and records them.
        rng: Generator of the random numbers of a step that draws.
        record: If False, only start and end are kept.

    Returns:
        A `Trajectory`.

    Raises:
        UserError: On an unknown method, and on times that are not finite or turn around.

    Derived in chapter 08.
    """
    check_times(times)
    velocity = at_rest if field is None else field
    if isinstance(method, DormandPrince) and record:
        moments, path = zip((times[0], start), *method.walk(velocity, start, times))
        return Trajectory(torch.stack(moments), torch.stack(path))
    step = step_of(method)
    states = [start]
    for t, s in pairwise(times):
        states.append(step(velocity, states[-1], t, s, rng))
        if not record:
            del states[1:-1]
    return Trajectory(times if record else times[[0, -1]], torch.stack(states))
