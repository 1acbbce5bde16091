"""Sampling with a clean predictor: the closed loop it forms, and the DDIM and ancestral steps."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.records import Field
from ..dynamics.solvers import Step, euler, heun
from ..errors import UserError
from .heads import noise_from_denoised, velocity_from_denoised
from .schedules import Schedule


Predictor = Callable[[Tensor, Tensor, Tensor], Tensor]  # (z_t, t, self-condition) -> z_1 hat


class ClosedLoop:
    """A data prediction f(z_t, t, c) as a velocity field, with its last prediction as c.

    Calling it gives u(z, t) and `denoised` gives z_1 hat. `nfe` counts network evaluations, and
    `seen` keeps the predictions by time.
    """

    def __init__(self, predict: Predictor, schedule: Schedule, like: Tensor):
        self.predict = predict
        self.schedule = schedule
        self.condition = torch.zeros_like(like)
        self.nfe = 0
        self.seen: dict[float, Tensor] = {}

    def denoised(self, z: Tensor, t: Tensor) -> Tensor:
        """The prediction of the data, which becomes the next self-condition."""
        self.condition = self.predict(z, t.expand(z.shape[0]), self.condition)
        self.nfe += 1
        self.seen[float(t)] = self.condition
        return self.condition

    def rewind(self, t: Tensor) -> None:
        """Forget the predictions made at time t and later, because the state goes back to t."""
        self.seen = {time: seen for time, seen in self.seen.items() if time < float(t)}
        blank = torch.zeros_like(self.condition)
        self.condition = self.seen[max(self.seen)] if self.seen else blank

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        return velocity_from_denoised(self.schedule, z, self.denoised(z, t), t.expand(z.shape[0]))


def ddim(
    field: ClosedLoop, z: Float[Tensor, "batch ..."], t: Tensor, s: Tensor, rng=None
) -> Float[Tensor, "batch ..."]:
    """Deterministic step from t to s along the predicted noise, z_s = a_s z_1 + b_s (z_t - a_t z_1)
    / b_t.

    Args:
        field: A `ClosedLoop`.
        z: (batch, ...).
        t: < `s`, scalars.

    Returns:
        The state at s.

    Source: DDIM.
    """
    clean = field.denoised(z, t)
    z0 = noise_from_denoised(field.schedule, z, clean, t.expand(z.shape[0]))
    return field.schedule.a(s) * clean + field.schedule.b(s) * z0


def ancestral(
    field: ClosedLoop,
    z: Float[Tensor, "batch ..."],
    t: Tensor,
    s: Tensor,
    rng: torch.Generator,
    temperature: float = 1.0,
) -> Tensor:
    """Stochastic step from t to s: a draw from the Gaussian posterior of z_s given z_t and the
    predicted z_1.

    With r = a_t / a_s and v = b_t^2 - r^2 b_s^2: mean = (r b_s^2 z_t + a_s v z_1) / b_t^2, variance
    = b_s^2 v / b_t^2.

    Args:
        field: A `ClosedLoop`.
        z: (batch, ...).
        t: < `s`, scalars.
        rng: Generator of the random numbers.
        temperature: Which multiplies the posterior's std.

    Returns:
        The state at s.

    Derived in chapter 08. Source: DDPM.
    """
    clean, schedule = field.denoised(z, t), field.schedule
    a, b, a_s, b_s = schedule.a(t), schedule.b(t), schedule.a(s), schedule.b(s)
    r = a / a_s
    v = (b**2 - r**2 * b_s**2).clamp(min=0)
    mean = (r * b_s**2 * z + a_s * v * clean) / b**2
    xi = torch.randn(z.shape, generator=rng, device=z.device)
    return mean + temperature * b_s * v.sqrt() / b * xi


def straight_step(share: float) -> Step:
    """The step on the straight path that trusts a velocity u and renews a share eta of the noise
    that `ancestral` renews.

    z_1 = z + (1 - t) u,  z_0 = z - t u,  z_s = s z_1 + sqrt((1-s)^2 - v) z_0 + sqrt(v) xi,
    v = eta^2 (1-s)^2 (1 - r^2),  r = t (1-s) / (s (1-t));  eta = 0 is Euler's step, z + (s - t) u

    Args:
        share: eta in [0, 1].

    Returns:
        A step for `integrate`, which takes `t` <= `s` that may differ between positions, and needs
        `rng` where eta > 0.

    Raises:
        UserError: On another share.

    Derived in chapter 13. Source: DDIM.
    """
    if not 0 <= share <= 1:
        raise UserError(f"a share of noise of {share} has no meaning: give a number from 0 to 1")
    if share == 0:
        return euler

    def step(field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator) -> Tensor:
        u = field(z, t)
        r = (t * (1 - s) / (s * (1 - t)).clamp(min=1e-12)).where(s > t, 1.0)
        v = (share * (1 - s)) ** 2 * (1 - r**2).clamp(min=0)
        xi = torch.randn(z.shape, generator=rng, device=z.device, dtype=z.dtype)
        return (
            s * (z + (1 - t) * u)
            + ((1 - s) ** 2 - v).clamp(min=0).sqrt() * (z - t * u)
            + v.sqrt() * xi
        )

    return step


def heun_to_data(
    field: ClosedLoop, z: Float[Tensor, "batch ..."], t: Tensor, s: Tensor, rng=None
) -> Tensor:
    """Heun's step, and Euler's for the last one: at t = 1 the velocity of a clean prediction is
    0/0.

    Args:
        field: A `ClosedLoop`.
        z: (batch, ...).
        t: < `s`, scalars.

    Returns:
        The state at s.

    Source: EDM.
    """
    return (euler if s >= 1 else heun)(field, z, t, s)


SAMPLERS = {"ddim": ddim, "ancestral": ancestral, "euler": euler, "heun": heun_to_data}


def sampler(name: str, temperature: float = 1.0) -> Step:
    """The method of `integrate` that a name stands for.

    Args:
        name: One of SAMPLERS.
        temperature: Of the noise that ancestral adds.

    Returns:
        A step function.

    Raises:
        UserError: On another name.
    """
    if name not in SAMPLERS:
        raise UserError(f"no sampler {name!r}: choose one of {', '.join(SAMPLERS)}")
    return partial(ancestral, temperature=temperature) if name == "ancestral" else SAMPLERS[name]
