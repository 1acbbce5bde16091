"""Sampling with a data prediction: its closed loop, and the DDIM, multistep and ancestral steps."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.records import Field
from ..dynamics.solvers import Step, euler, heun
from ..errors import UserError
from .heads import velocity_from_denoised
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

    def before(self, t: Tensor) -> tuple[float, Tensor] | None:
        """The time and the prediction of the last evaluation before time t, if there was one."""
        earlier = [time for time in self.seen if time < float(t)]
        return (max(earlier), self.seen[max(earlier)]) if earlier else None

    def rewind(self, t: Tensor) -> None:
        """Drop the predictions made at time t and later, because the state goes back to t."""
        self.seen = {time: seen for time, seen in self.seen.items() if time < float(t)}
        blank = torch.zeros_like(self.condition)
        self.condition = self.seen[max(self.seen)] if self.seen else blank

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        return velocity_from_denoised(self.schedule, z, self.denoised(z, t), t.expand(z.shape[0]))


def ddim(
    field: ClosedLoop,
    z: Float[Tensor, "batch ..."],
    t: Tensor,
    s: Tensor,
    rng: torch.Generator | None = None,
) -> Float[Tensor, "batch ..."]:
    """Deterministic step from t to s along the predicted noise.

    z_s = a_s z_1 + b_s (z_t - a_t z_1) / b_t

    Args:
        field: A `ClosedLoop`.
        z: State (batch, ...) at time t.
        t: Time at which the step begins, a scalar.
        s: Time at which it ends, a scalar above t.
        rng: Not used.

    Returns:
        The state (batch, ...) at s.

    Source: DDIM.
    """
    return towards(field.schedule, z, field.denoised(z, t), t, s)


def towards(
    schedule: Schedule, z: Float[Tensor, "batch ..."], denoised: Tensor, t: Tensor, s: Tensor
) -> Float[Tensor, "batch ..."]:
    """A step of DDIM along given data, a_s z_1 + b_s z_0, with the noise z_0 that they imply.

    Args:
        schedule: Coefficients of the path.
        z: State (batch, ...) at time t.
        denoised: z_1 (batch, ...).
        t: Time at which the step begins, a scalar or in a shape that `z` can be multiplied by.
        s: Time at which it ends, in the shape of t.

    Returns:
        The state (batch, ...) at s.
    """
    z0 = (z - schedule.a(t) * denoised) / schedule.b(t)
    return schedule.a(s) * denoised + schedule.b(s) * z0


def multistep(
    field: ClosedLoop,
    z: Float[Tensor, "batch ..."],
    t: Tensor,
    s: Tensor,
    rng: torch.Generator | None = None,
) -> Float[Tensor, "batch ..."]:
    """Deterministic step from t to s of order 2, which costs one evaluation as DDIM's does.

    z_s = a_s z_1' + b_s (z_t - a_t z_1') / b_t
    z_1' = z_1 + (z_1 - z_1~) (l_s - l_t) / (2 (l_t - l_t~)),  l = log(a / b)

    The prediction z_1~ of the step before, at time t~, says how the prediction changes with l; the
    first step and the one that ends in data are DDIM's.

    Args:
        field: A `ClosedLoop`.
        z: State (batch, ...) at time t.
        t: Time at which the step begins, a scalar.
        s: Time at which it ends, a scalar above t.
        rng: Not used.

    Returns:
        The state (batch, ...) at s.

    Derived in chapter 08. Source: DPM-Solver++ 2211.01095, its multistep method of order 2.
    """
    schedule = field.schedule
    earlier = field.before(t)
    denoised = field.denoised(z, t)
    if earlier is not None and s < 1:
        time, seen = earlier
        now = schedule.log_snr(t)
        ahead = schedule.log_snr(s) - now
        behind = now - schedule.log_snr(torch.full_like(t, time))
        denoised = denoised + ahead / (2 * behind) * (denoised - seen)
    return towards(schedule, z, denoised, t, s)


def ancestral(
    field: ClosedLoop,
    z: Float[Tensor, "batch ..."],
    t: Tensor,
    s: Tensor,
    rng: torch.Generator,
    temperature: float = 1.0,
) -> Tensor:
    """Stochastic step from t to s: a draw of z_s given z_t and the predicted z_1.

    mean = (r b_s^2 z_t + a_s v z_1) / b_t^2,  variance = b_s^2 v / b_t^2
    r = a_t / a_s,  v = b_t^2 - r^2 b_s^2

    Args:
        field: A `ClosedLoop`.
        z: State (batch, ...) at time t.
        t: Time at which the step begins, a scalar.
        s: Time at which it ends, a scalar above t.
        rng: Generator of the random numbers.
        temperature: Factor of the standard deviation.

    Returns:
        The state (batch, ...) at s.

    Derived in chapter 08. Source: DDPM.
    """
    return bridge(field.schedule, z, field.denoised(z, t), (t, s), rng, temperature)


def bridge(
    schedule: Schedule,
    z: Float[Tensor, "batch ..."],
    denoised: Tensor,
    times: tuple[Tensor, Tensor],
    rng: torch.Generator | None,
    temperature: float = 1.0,
) -> Float[Tensor, "batch ..."]:
    """A draw of z_s given z_t and z_1, as `ancestral` takes it.

    Args:
        schedule: Coefficients of the path.
        z: State (batch, ...) at time t.
        denoised: z_1 (batch, ...).
        times: t and s >= t, scalars or in a shape that `z` can be multiplied by.
        rng: Generator of the random numbers.
        temperature: Factor of the standard deviation.

    Returns:
        The state (batch, ...) at s.
    """
    t, s = times
    b = schedule.b(t)
    a_s = schedule.a(s)
    b_s = schedule.b(s)
    r = schedule.a(t) / a_s
    v = (b**2 - r**2 * b_s**2).clamp(min=0)
    mean = (r * b_s**2 * z + a_s * v * denoised) / b**2
    xi = torch.randn(z.shape, generator=rng, device=z.device)
    return mean + temperature * b_s * v.sqrt() / b * xi


def straight_step(eta: float) -> Step:
    """The step on the straight path that trusts a velocity u and renews part of the noise.

    z_s = s z_1 + sqrt((1-s)^2 - v) z_0 + sqrt(v) xi,  z_1 = z + (1 - t) u,  z_0 = z - t u
    v = eta^2 (1-s)^2 (1 - r^2),  r = t (1-s) / (s (1-t))

    With eta = 0 it is Euler's step, z + (s - t) u; with eta = 1 it renews what `ancestral` renews.

    Args:
        eta: Stochasticity, in [0, 1].

    Returns:
        A step for `integrate`, with times t <= s that may differ between positions; it needs `rng`
        where eta > 0.

    Raises:
        UserError: On another eta.

    Derived in chapter 13. Source: DDIM.
    """
    if not 0 <= eta <= 1:
        raise UserError(f"an eta of {eta} has no meaning: give a number from 0 to 1")
    if eta == 0:
        return euler

    def step(
        field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        u = field(z, t)
        r = (t * (1 - s) / (s * (1 - t)).clamp(min=1e-12)).where(s > t, 1.0)
        v = (eta * (1 - s)) ** 2 * (1 - r**2).clamp(min=0)
        xi = torch.randn(z.shape, generator=rng, device=z.device, dtype=z.dtype)
        kept = ((1 - s) ** 2 - v).clamp(min=0).sqrt()
        return s * (z + (1 - t) * u) + kept * (z - t * u) + v.sqrt() * xi

    return step


def heun_to_data(
    field: Field,
    z: Float[Tensor, "batch ..."],
    t: Tensor,
    s: Tensor,
    rng: torch.Generator | None = None,
) -> Tensor:
    """Heun's step, and Euler's for the last one, as the velocity of a data prediction is 0/0 at 1.

    Args:
        field: The vector field.
        z: State (batch, ...) at time t.
        t: Time at which the step begins, a scalar.
        s: Time at which it ends, a scalar above t.
        rng: Not used.

    Returns:
        The state (batch, ...) at s.

    Source: EDM.
    """
    return (euler if s >= 1 else heun)(field, z, t, s)


# ddim, multistep and ancestral take a `ClosedLoop`, the others any field
SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddim": ddim,
    "multistep": multistep,
    "ancestral": ancestral,
    "euler": euler,
    "heun": heun_to_data,
}


def sampler(name: str, temperature: float = 1.0) -> Step:
    """The method of `integrate` that a name stands for.

    Args:
        name: One of SAMPLERS.
        temperature: Factor of the noise that ancestral adds.

    Returns:
        A step.

    Raises:
        UserError: On another name.
    """
    if name not in SAMPLERS:
        raise UserError(f"no sampler {name!r}: choose one of {', '.join(SAMPLERS)}")
    return partial(ancestral, temperature=temperature) if name == "ancestral" else SAMPLERS[name]
