"""Manta-LM with a receding horizon: a policy over the latents that an LDLM has learned.

Each latent has a noise level of its own. The first ones of a horizon are nearly finished when the
last ones begin, and the horizon moves through the text: model predictive control, which plans over
a horizon, applies the first controls and plans again. So a text may be of any length. It is a
reconstruction: the paper's abstract names neither a horizon nor the latents of an LDLM.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError
from ..transport.horizon import training_levels
from ..transport.paths import interpolate
from .generation import Capabilities, HorizonGeneration
from .ldlm import LDLM, LDLMConfig


@dataclass(frozen=True)
class HorizonConfig(LDLMConfig):
    """Sizes of a policy with a receding horizon, and how it is trained and drawn from."""

    reach: int | None = 16  # tokens read on either side by encoder and decoders, or all
    n_encoder_layers: int = 1  # Perceiver blocks from states to latents
    n_denoiser_layers: int = 12  # blocks of the policy
    flat_fraction: float = 0.15  # of the texts of training whose latents have one noise level
    shortest: float = 16.0  # horizon of training, in latents
    longest: float = 160.0  # horizon of training, in latents
    generation: HorizonGeneration = field(default_factory=HorizonGeneration)  # how texts are drawn


class HorizonLM(LDLM):
    """An LDLM whose denoiser steers each latent at a noise level of its own.

    What is drawn first is context for what is drawn later, as in an autoregressive model, but each
    latent is refined several times, and can still change while others form.
    """

    title = "a Manta-LM with a receding horizon"
    config: HorizonConfig
    capabilities = Capabilities(
        ("ancestral", "ddim"),
        frozenset({"solver", "length", "temperature", "prompt", "observed", "horizon"})
        | {"refinements", "noise_estimate"},
        latent=True,
        tempered=("ancestral",),
    )

    def horizon(self, asked: int | None, latents: int) -> int:
        """The positions under way: what is asked for, else a whole trained text, or half of one.

        A text that is longer than those of training is read through a sliding context as long as
        one of these, and half of it is left to finished latents.
        """
        trained = -(-self.config.seq_len // self.config.compression)
        most = trained if latents <= trained else trained // 2
        if asked is None:
            return most
        if latents > trained and asked > trained - 1:
            raise UserError(
                f"a horizon of {asked} leaves no context in the {trained} latents that "
                f"{self.title} reads: take at most {trained - 1} for texts of this length"
            )
        return asked

    def denoising_errors(
        self, target: Float[Tensor, "b m latent"], rng: torch.Generator
    ) -> Float[Tensor, " b"]:
        """|f(z_t, t, c) - z~|^2 of the latents under way, each at its own t_i = F^-1(v_i)."""
        c = self.config
        b, m, _ = target.shape
        v = training_levels(b, m, c.flat_fraction, (c.shortest, c.longest), rng)
        t = self.time.warp(v)
        noise = torch.randn(target.shape, generator=rng, device=target.device)
        zt = interpolate(self.schedule, target, noise, t)
        condition = torch.zeros_like(zt)
        with torch.no_grad():
            condition[::2] = self.denoise(zt[::2], t[::2], condition[::2])
        errors = (self.denoise(zt, t, condition) - target).square().mean(-1)
        moving = ((v > 0) & (v < 1)).float()
        if self.training:
            self.time.observe(t, errors, moving / self.time.density(t))
        return (errors * moving).sum(1) * b / moving.sum()
