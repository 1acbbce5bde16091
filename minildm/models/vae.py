"""A regularized variational autoencoder: words as Gaussians in a latent space that a flow can cross
without stiffness.

words w -> q(z | w) = N(mean(w), std^2) -> z -> logits of the words, with one std for each channel,
the same for all words. The posterior's width is the knob: wide codes overlap and make the field
between them gentle, narrow ones are easy to read. Manta-LM steers in such a space; its own
autoencoder is not public, so this one is a reconstruction.
"""

import math
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..nets.layers import init_weights
from ..nets.transformer import Stack
from ..transport.codebook import Codebook
from .base import Generation, LanguageModel, Losses, check_request

START = 0.2  # std of posteriors at the start of training


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of a variational autoencoder of words, and how hard it is pressed."""

    vocabulary: int = 265  # tokens, specials included
    length: int = 64  # text in tokens, padding included
    latent: int = 32  # channels of a latent
    width: int = 128  # channels inside the networks
    heads: int = 4  # attention heads
    encoder_layers: int = (
        0  # blocks of the encoder; none: a word's code does not depend on its neighbors
    )
    decoder_layers: int = 1  # blocks of the decoder, which reads words in their context
    kl: float = 1e-3  # weight of the KL divergence from the standard normal, in nats a word
    floor: float = 0.1  # least posterior std
    free_bits: float = 0.0  # nats a channel that cost nothing


class VAE(LanguageModel):
    """Encoder q(z | w) and decoder p(w | z), with the mean and std of its latents measured while it
    trains.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        c = config
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary, c.width)
        self.encoder = Stack(c.width, c.heads, c.encoder_layers)
        self.leave_encoder = nn.Linear(c.width, c.latent)
        self.log_width = nn.Parameter(torch.full((c.latent,), math.log(START)))
        self.enter = nn.Linear(c.latent, c.width)
        self.decoder = Stack(c.width, c.heads, c.decoder_layers)
        self.leave = nn.Linear(c.width, c.vocabulary)
        init_weights(self, c.encoder_layers + c.decoder_layers)
        nn.init.normal_(self.embedding.weight)
        for layer in (self.leave_encoder, self.enter):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        for name, start in (("mean", torch.zeros(c.latent)), ("square", torch.ones(c.latent))):
            self.register_buffer(name, start)
        self.register_buffer(
            "new_moments", torch.zeros(2, c.latent), persistent=False
        )  # of this step, summed over its parts
        self.register_buffer("parts", torch.zeros(()), persistent=False)

    def posteriors(
        self, tokens: Int[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b n latent"], Float[Tensor, "b n latent"]]:
        """Mean and std of q(z | w), std = sqrt(floor^2 + e^(2 s)), which can come close to the
        floor and leave it again.
        """
        mean = self.leave_encoder(self.encoder(self.embedding(tokens))).float()
        return mean, (self.config.floor**2 + (2 * self.log_width.float()).exp()).sqrt().expand_as(
            mean
        )

    def logits(self, z: Float[Tensor, "b n latent"]) -> Float[Tensor, "b n vocabulary"]:
        """Logits of the words that latents on the encoder's own scale stand for."""
        return self.leave(self.decoder(self.enter(z.to(self.enter.weight.dtype)))).float()

    @property
    def std(self) -> Float[Tensor, " latent"]:
        """Std of each channel over all latents."""
        return (self.square - self.mean**2).clamp(min=1e-6).sqrt()

    def codebook(self) -> Codebook:
        """All words as standardized Gaussians; exact for an encoder without blocks, where a code is
        its word's alone.
        """
        mean, std = self.posteriors(torch.arange(self.config.vocabulary, device=self.device)[None])
        return Codebook((mean[0] - self.mean) / self.std, (std[0, 0] / self.std).square())

    def encode(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator | None = None
    ) -> Float[Tensor, "b n latent"]:
        """Standardized latents z_1, drawn from the posterior, or its mean where no `rng` is given."""
        mean, std = self.posteriors(tokens)
        if rng is not None:
            mean = mean + std * torch.randn(mean.shape, generator=rng, device=mean.device)
        return (mean - self.mean) / self.std

    def decode(self, z1: Float[Tensor, "b n latent"]) -> Float[Tensor, "b n vocabulary"]:
        """Logits of the words of standardized latents."""
        return self.logits(z1 * self.std + self.mean)

    def read_off(
        self, z1: Float[Tensor, "b n latent"]
    ) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Most probable words of standardized latents and their probabilities."""
        confidence, tokens = self.decode(z1).softmax(-1).max(-1)
        return tokens, confidence

    def losses(self, tokens: Int[Tensor, "b n"], *, step: int, rng: torch.Generator) -> Losses:
        """L = cross-entropy(p(w | z), w) + beta KL,  KL = sum_c max(KL_c, free bits),  z = mean +
        std xi.

        KL_c = (mean^2 + std^2 - 1) / 2 - log std, a channel's mean over all words, in nats.
        """
        mean, std = self.posteriors(tokens)
        z = mean + std * torch.randn(mean.shape, generator=rng, device=mean.device)
        channels = divergence(mean, std).mean((0, 1))
        if self.training:
            self.new_moments += torch.stack(
                (z.detach().mean((0, 1)), z.detach().square().mean((0, 1)))
            )
            self.parts += 1
        logits = self.logits(z)
        return Losses(
            {
                "words": F.cross_entropy(logits.flatten(0, 1), tokens.flatten()),
                "kl": self.config.kl * channels.clamp(min=self.config.free_bits).sum(),
            },
            {
                "nats": channels.detach().sum(),
                "std": std.detach().mean(),
                "active": (channels > 0.1).sum().float(),
                "accuracy": (logits.argmax(-1) == tokens).float().mean(),
            },
        )

    def after_step(self, step: int) -> None:
        """Fold this step's moments of the latents, of all processes, into their running mean."""
        if dist.is_initialized():
            dist.all_reduce(self.new_moments)
            dist.all_reduce(self.parts)
        for kept, new in zip((self.mean, self.square), self.new_moments / self.parts):
            kept.lerp_(new, 0.02)
        self.new_moments.zero_()
        self.parts.zero_()

    @torch.no_grad()
    def generate(
        self, count: int, *, rng: torch.Generator, length: int | None = None
    ) -> Generation:
        """Read off latents drawn from the standard normal: what a text looks like before a policy
        puts words in order.
        """
        length = length or self.config.length
        check_request(count, length, None)
        began = time.perf_counter()
        tokens, _ = self.read_off(
            torch.randn(count, length, self.config.latent, generator=rng, device=self.device)
        )
        return Generation(tokens, 1, time.perf_counter() - began)


def divergence(mean: Float[Tensor, "..."], std: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """KL(N(mean, std^2) || N(0, 1)) of each channel, (mean^2 + std^2 - 1) / 2 - log std.

    Args:
        mean, std: (...), std > 0.

    Returns:
        Nats (...).
    """
    return (mean**2 + std**2 - 1) / 2 - std.log()
