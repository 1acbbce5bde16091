"""Samplers of a Manta-LM: its feedback policy on a grid of noise levels, or entropy-bounded."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..dynamics.records import Trajectory
from ..dynamics.solvers import euler
from ..models.manta import MantaLM
from ..transport.diffusion import straight_step
from ..transport.noise_levels import offset_grid
from ..transport.paths import interpolate
from .entropy_bounded import EntropyBoundedPolicy
from .policy import MantaPolicy
from .process import Process, Request, over_time, process_of

ETAS = {"ancestral": 1.0, "euler": 0.0, "sampled": 1.0}  # stochasticity of the steps, by solver
SAMPLED = ("sampled", "entropy_bounded")  # solvers that steer to sampled end points
SEED = 3  # keeps sampled end points apart from the other noise of a seed


def beginning(model: MantaLM, request: Request) -> tuple[Tensor, Tensor]:
    """Noise with the observed latents in it, and the latents of all that is given."""
    shape = request.count, request.length, model.config.space.latent
    z0 = torch.randn(shape, generator=request.rng, device=model.device)
    if not (request.observed.any() or request.config.start):
        return z0, z0
    z1 = model.space.encode(request.given, request.rng)
    return z1.where(request.observed[..., None], z0), z1


def seed_of(request: Request) -> int | None:
    """The seed of sampled end points: fixed by the request's, else drawn."""
    if request.config.solver not in SAMPLED:
        return None
    if request.seed is not None:
        return request.seed + SEED
    rng = request.rng
    return int(torch.randint(2**31, (), generator=rng, device=rng.device))


@process_of.register
def steering(model: MantaLM, request: Request) -> Process:
    """A Manta-LM chooses a control at each time and holds it for one step.

    With a start, the given text is noised to where a text is after that fraction of the steps.
    """
    if request.config.solver == "entropy_bounded":
        return entropy_bounded(model, request)
    config = request.config
    z, z1 = beginning(model, request)
    grid = offset_grid(config.steps, config.offset, ~request.observed, config.start)
    times = model.time.warp(grid)
    if config.start:
        z = interpolate(model.schedule, z1, z, times[0, ..., 0])
    policy = MantaPolicy(
        model,
        config.temperature,
        seed_of(request),
        config.guidance_target,
        config.guidance_scale,
        request.record,
    )
    if model.config.blocks and config.guidance_target is None and not request.record:
        policy.find_reach(times)
    read = over_time(model.space.decode_tokens, request)

    def recorded(path: Trajectory) -> Trajectory:
        return described(policy, path, path.states, config.start, read)

    def end(z: Tensor, u: Tensor, t: Tensor) -> Tensor:
        return z + (1 - t) * u

    return Process(policy, z, times, straight_step(ETAS[config.solver]), read, recorded, end)


def entropy_bounded(model: MantaLM, request: Request) -> Process:
    """The process whose state holds latents and arrivals, and whose times count evaluations."""
    z, _ = beginning(model, request)
    policy = EntropyBoundedPolicy(model, request, seed_of(request))
    arrived = request.observed[..., None].float()
    times = torch.arange(request.config.steps + 1.0, device=model.device)
    decode = over_time(model.space.decode_tokens, request)

    def read(states: Float[Tensor, "time b n d_plus_one"]) -> tuple[Tensor, Tensor]:
        return decode(states[..., :-1])

    def recorded(path: Trajectory) -> Trajectory:
        return described(policy, path, path.states[..., :-1], 0.0, decode)

    return Process(policy, torch.cat((z, arrived), -1), times, euler, read, recorded)


def described(
    policy: MantaPolicy,
    path: Trajectory,
    states: Tensor,
    start: float,
    read: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> Trajectory:
    """A path of latents with what was predicted at each time, on an axis of fractions of steps."""
    times = torch.linspace(start, 1, len(path.times))
    denoised = torch.stack([*policy.seen, states[-1]])
    return Trajectory(times, states, denoised, *read(denoised))
