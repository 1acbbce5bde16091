"""Draws from the latent space of a VAE, in which no policy has put the tokens in order."""

import torch
from torch import Tensor

from ..dynamics.records import Trajectory
from ..dynamics.solvers import euler
from ..models.vae import VAE
from .process import Process, Request, over_time, process_of


class Still:
    """The policy of a state that stays where it is; its one evaluation is that of the decoder."""

    nfe = 1

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(z)

    def rewind(self, t: Tensor) -> None:
        """There is nothing to undo."""


@process_of.register
def standard_normal(model: VAE, request: Request) -> Process:
    """Latents are drawn from the standard normal distribution and decoded."""
    shape = request.count, request.length, model.config.latent
    z = torch.randn(shape, generator=request.rng, device=model.device)
    read = over_time(model.decode_tokens, request)

    def recorded(path: Trajectory) -> Trajectory:
        return Trajectory(path.times, path.states, path.states, *read(path.states))

    return Process(Still(), z, torch.tensor([0.0, 1.0]), euler, read, recorded)
