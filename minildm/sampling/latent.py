"""Samplers of an LDLM: latents flow from noise to data, and tokens are decoded at the end."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..dynamics.records import Field, Trajectory
from ..models.generation import GuidanceTarget
from ..models.guidance import posterior_mean_guidance
from ..models.ldlm import LDLM
from ..transport.diffusion import ClosedLoop, Predictor, sampler
from ..transport.grids import warped_grid
from ..transport.heads import denoised_from_velocity
from ..transport.paths import interpolate
from ..transport.time_sampling import Uniform
from .process import Process, Request, over_time, process_of


class Implied(ClosedLoop):
    """A velocity field that also says which data its velocity implies, as DDIM steps ask for it.

    Earlier predictions are those of the policy behind the field.
    """

    def __init__(self, field: Field, policy: ClosedLoop):
        self.field = field
        self.schedule = policy.schedule
        self.seen = policy.seen

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        return self.field(z, t)

    def denoised(self, z: Tensor, t: Tensor) -> Tensor:
        return denoised_from_velocity(self.schedule, z, self.field(z, t), t.expand(len(z)))


def with_observed(
    model: LDLM, predict: Predictor, given: Int[Tensor, "b n"], observed: Bool[Tensor, "b n"]
) -> Predictor:
    """A denoiser whose prediction holds the observed tokens, as the model encodes them.

    z_hat_i <- E(h(w))_i where all tokens of latent i are observed;
    w = given where observed, else argmax T(D(z_hat))

    Args:
        model: The LDLM, with its frozen encoder.
        predict: (z_t, t, self-condition) -> z_hat.
        given: Tokens (b, n).
        observed: Where they are given (b, n).

    Returns:
        A denoiser.
    """
    length = given.shape[1]
    rest = -length % model.config.compression
    padded = F.pad(observed, (0, rest), value=True)
    whole = padded.reshape(len(padded), -1, model.config.compression).all(-1, keepdim=True)

    def denoise(zt: Tensor, t: Tensor, c: Tensor) -> Tensor:
        denoised = predict(zt, t, c)
        tokens = given.where(observed, model.decode_tokens(denoised, length)[0])
        return model.encode(model.hidden(tokens)).where(whole, denoised)

    return denoise


def guided(model: LDLM, target: GuidanceTarget, request: Request) -> Predictor:
    """The denoiser with its prediction moved towards a guidance target of the decoded tokens."""

    def denoise(zt: Tensor, t: Tensor, c: Tensor) -> Tensor:
        def predict(z: Tensor) -> tuple[Tensor, Tensor]:
            denoised = model.denoise(z, t, c)
            return denoised, model.token_logits(denoised, request.length)

        return posterior_mean_guidance(
            predict, target, request.config.guidance_scale, model.schedule, zt, t
        )[0]

    return denoise


@process_of.register
def denoising(model: LDLM, request: Request) -> Process:
    """An LDLM carries noise to latents over its time grid; the solver says by which steps.

    With a start, the given text is noised to where a text is after that fraction of the steps.
    """
    config = request.config
    schedule = model.schedule
    shape = request.count, -(-request.length // model.config.compression), model.config.latent
    z = torch.randn(shape, generator=request.rng, device=model.device)
    distribution = model.time if config.warped else Uniform()
    times = warped_grid(distribution, config.steps, model.device, config.start)
    if config.start:
        z1 = model.encode(model.hidden(request.given))
        z = interpolate(schedule, z1, z, times[:1].expand(request.count))
    target = config.guidance_target
    predict = model.denoise if target is None else guided(model, target, request)
    if request.observed.any():
        predict = with_observed(model, predict, request.given, request.observed)
    method = sampler(config.solver, config.temperature)
    policy = ClosedLoop(predict, schedule, z)

    def step(
        field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        loop = field if field is policy else Implied(field, policy)
        return method(loop, z, t, s, rng)

    def decode(z1: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor]:
        return model.decode_tokens(z1, request.length)

    read = over_time(decode, request)

    def recorded(path: Trajectory) -> Trajectory:
        ends = [policy.seen[float(t)] for t in path.times[:-1]]
        denoised = torch.stack([*ends, path.states[-1]])
        return Trajectory(path.times, path.states, denoised, *read(denoised))

    def end(z: Tensor, u: Tensor, t: Tensor) -> Tensor:
        return denoised_from_velocity(schedule, z, u, t.expand(len(z)))

    return Process(policy, z, times, step, read, recorded, end)
