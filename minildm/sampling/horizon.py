"""The sampler with a receding horizon: latents travel at noise levels of their own."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..dynamics.records import Field, Trajectory
from ..models.horizon import HorizonLM
from ..transport.diffusion import bridge, towards
from ..transport.heads import denoised_from_velocity, velocity_from_denoised
from ..transport.horizon import excess_variance, horizon_grid, noise_level_after
from ..transport.schedules import Schedule
from .process import Process, Request, over_time, process_of

AT_REST = 0.5  # any time at which nothing is divided by zero, for latents that do not move


class HorizonPolicy:
    """The feedback policy: the velocity of each latent that is under way, 0 of the others.

    It reads as many latents as a text of training has, with the horizon at their end: what was
    finished long ago is not read. Observed tokens are encoded anew at each evaluation,
    between the tokens that are expected around them.
    """

    def __init__(self, model: HorizonLM, request: Request, observed: Tensor, horizon: int):
        self.model = model
        self.request = request
        self.observed = observed
        trained = -(-model.config.seq_len // model.config.compression)
        self.read = min(trained, observed.shape[1])
        self.behind = self.read - horizon
        self.condition: Tensor | None = None
        self.nfe = 0
        self.seen: dict[float, Tensor] = {}

    def rewind(self, t: Tensor) -> None:
        """Drop the predictions made at mean time t and later."""
        self.seen = {time: seen for time, seen in self.seen.items() if time < float(t)}
        self.condition = self.seen[max(self.seen)] if self.seen else None

    def rows(self, t: Float[Tensor, "b m"]) -> slice:
        """The latents that are read: the horizon, and finished ones before it."""
        first = int((t >= 1).all(0).long().cumprod(0).sum())
        last = t.shape[1] - self.read
        start = min(max(first - self.behind, 0), last)
        return slice(start, start + self.read)

    def with_observed(self, z: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        """The state with observed latents as they are encoded between the expected tokens."""
        if self.condition is None or not self.observed.any():
            return z
        given = self.request.given
        expected = self.model.decode_tokens(self.condition, given.shape[1])[0]
        tokens = given.where(self.request.observed, expected)
        return self.model.embed(tokens).where(self.observed[..., None], z)

    def denoised(
        self, z: Float[Tensor, "b m d"], t: Float[Tensor, "b m"]
    ) -> Float[Tensor, "b m d"]:
        """The prediction of all latents; those that are finished or not read stay."""
        z = self.with_observed(z)
        rows = self.rows(t)
        level = t
        if self.request.config.noise_estimate:
            z, level = at_its_level(self.model.schedule, z, t)
        c = torch.zeros_like(z) if self.condition is None else self.condition
        found = z.clone()
        found[:, rows] = self.model.denoise(z[:, rows], level[:, rows], c[:, rows])
        self.condition = found.where(t[..., None] < 1, z)
        self.nfe += 1
        self.seen[float(t.mean())] = self.condition
        return self.condition

    def __call__(
        self, z: Float[Tensor, "b m d"], t: Float[Tensor, "b m one"]
    ) -> Float[Tensor, "b m d"]:
        denoised = self.denoised(z, t[..., 0])
        moving = t < 1
        times = t.where(moving, AT_REST)[..., 0]
        u = velocity_from_denoised(self.model.schedule, z, denoised, times)
        return u.where(moving, 0.0)


def observed_latents(request: Request, compression: int) -> Bool[Tensor, "b m"]:
    """Which latents are observed: those all of whose tokens are given."""
    rest = -request.length % compression
    padded = F.pad(request.observed, (0, rest), value=True)
    return padded.reshape(len(padded), -1, compression).all(-1)


def at_its_level(
    schedule: Schedule, z: Float[Tensor, "b m d"], t: Float[Tensor, "b m"]
) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b m"]]:
    """A state and its times where the latents under way show more noise than their times say.

    t_i' has the signal-to-noise ratio of a_i z_1 + sqrt(b_i^2 + delta^2) z_0, and the state is
    scaled to the path at t_i'. Without a disturbance nothing changes.
    """
    moving = (t > 0) & (t < 1)
    size = excess_variance(z, moving.expand(z.shape[:2])).sqrt()
    safe = t.where(moving, AT_REST)[..., None]
    before = noise_level_after(schedule, safe, size)
    scaled = z * (schedule.a(before) / schedule.a(safe))
    changed = moving[..., None] & (size > 0)
    return scaled.where(changed, z), before.where(changed, t[..., None]).squeeze(-1)


@process_of.register
def receding_horizon(model: HorizonLM, request: Request) -> Process:
    """A policy with a receding horizon carries noise to latents, the first ones first."""
    config = request.config
    schedule = model.schedule
    observed = observed_latents(request, model.config.compression)
    shape = *observed.shape, model.config.latent
    z = torch.randn(shape, generator=request.rng, device=model.device)
    if observed.any():
        z = model.embed(request.given).where(observed[..., None], z)
    horizon = model.horizon(config.horizon, observed.shape[1])
    levels = horizon_grid(horizon, config.refinements, ~observed)
    times = model.time.warp(levels)[..., None]
    policy = HorizonPolicy(model, request, observed, horizon)

    def step(
        field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        moving = s > t
        begin = t.where(moving, AT_REST)
        until = s.where(moving, AT_REST)
        denoised = denoised_from_velocity(schedule, z, field(z, t), begin[..., 0])
        if config.noise_estimate:
            z, level = at_its_level(schedule, z, t[..., 0])
            begin = level[..., None].where(moving, AT_REST)
        if config.solver == "ddim":
            after = towards(schedule, z, denoised, begin, until)
        else:
            after = bridge(schedule, z, denoised, (begin, until), rng, config.temperature)
        return after.where(moving, z)

    def decode(z1: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor]:
        return model.decode_tokens(z1, request.length)

    read = over_time(decode, request)

    def recorded(path: Trajectory) -> Trajectory:
        ends = [policy.seen[float(t.mean())] for t in path.times[:-1]]
        denoised = torch.stack([*ends, path.states[-1]])
        moments = torch.linspace(0, 1, len(path.times))
        return Trajectory(moments, path.states, denoised, *read(denoised))

    def end(z: Tensor, u: Tensor, t: Tensor) -> Tensor:
        return denoised_from_velocity(schedule, z, u, t[..., 0])

    return Process(policy, z, times, step, read, recorded, end)
