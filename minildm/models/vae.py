"""A regularized variational autoencoder: a latent space that is easy to cross.

tokens w -> q(z | w) = N(mean(w), std^2) -> z -> logits of the tokens

There is one std for each channel, the same for all tokens. The width of the posterior is the knob:
wide codes overlap, which makes the velocity field between them gentle; narrow codes are easy to
decode. Manta-LM's own autoencoder is not public, so this one is a reconstruction.
"""

import math
from collections.abc import Iterable
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
from .base import LanguageModel, Losses
from .generation import Capabilities
from .measures import Faithfulness, at_text, cross_entropies

START = 0.2  # std of posteriors at the start of training


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of a variational autoencoder of tokens, and the weights of its regularization."""

    vocab_size: int = 265  # tokens, specials included
    seq_len: int = 64  # text in tokens, padding included
    latent: int = 32  # channels of a latent
    d_model: int = 128  # channels inside the networks
    n_heads: int = 4  # attention heads
    n_encoder_layers: int = 0  # blocks of the encoder; 0: a code does not depend on its neighbors
    n_decoder_layers: int = 1  # blocks of the decoder, which reads codes in their context
    kl: float = 1e-3  # weight of the KL divergence from the standard normal, in nats a token
    floor: float = 0.1  # least posterior std
    free_bits: float = 0.0  # nats a channel that cost nothing


class VAE(LanguageModel):
    """Encoder q(z | w) and decoder p(w | z), which measure the mean and std of their latents."""

    title = "a VAE"
    capabilities = Capabilities(("ancestral",), frozenset({"length"}), latent=True, writes=False)

    def __init__(self, config: VAEConfig):
        super().__init__()
        c = self.config = config
        self.embedding = nn.Embedding(c.vocab_size, c.d_model)
        self.encoder = Stack(c.d_model, c.n_heads, c.n_encoder_layers)
        self.encoder_out_proj = nn.Linear(c.d_model, c.latent)
        self.log_std = nn.Parameter(torch.full((c.latent,), math.log(START)))
        self.in_proj = nn.Linear(c.latent, c.d_model)
        self.decoder = Stack(c.d_model, c.n_heads, c.n_decoder_layers)
        self.out_proj = nn.Linear(c.d_model, c.vocab_size)
        init_weights(self, c.n_encoder_layers + c.n_decoder_layers)
        nn.init.normal_(self.embedding.weight)
        for layer in (self.encoder_out_proj, self.in_proj):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        self.mean: Tensor
        self.square: Tensor
        self.new_moments: Tensor  # of this step, summed over its parts
        self.parts: Tensor
        self.register_buffer("mean", torch.zeros(c.latent))
        self.register_buffer("square", torch.ones(c.latent))
        self.register_buffer("new_moments", torch.zeros(2, c.latent), persistent=False)
        self.register_buffer("parts", torch.zeros(()), persistent=False)

    def posteriors(
        self, tokens: Int[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b n latent"], Float[Tensor, "b n latent"]]:
        """Mean and std of q(z | w), std = sqrt(floor^2 + e^(2 s)).

        So the std can come close to the floor and leave it again.
        """
        mean = self.encoder_out_proj(self.encoder(self.embedding(tokens))).float()
        std = (self.config.floor**2 + (2 * self.log_std.float()).exp()).sqrt()
        return mean, std.expand_as(mean)

    def logits(self, z: Float[Tensor, "b n latent"]) -> Float[Tensor, "b n vocab_size"]:
        """Logits of the tokens that latents on the encoder's own scale stand for."""
        return self.out_proj(self.decoder(self.in_proj(z.to(self.in_proj.weight.dtype)))).float()

    @property
    def std(self) -> Float[Tensor, " latent"]:
        """Std of each channel over all latents."""
        return (self.square - self.mean**2).clamp(min=1e-6).sqrt()

    def codebook(self) -> Codebook:
        """All tokens as standardized Gaussians, exact for an encoder without blocks."""
        mean, std = self.posteriors(torch.arange(self.config.vocab_size, device=self.device)[None])
        return Codebook((mean[0] - self.mean) / self.std, (std[0, 0] / self.std).square())

    def encode(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator | None = None
    ) -> Float[Tensor, "b n latent"]:
        """Standardized latents z_1: a draw from the posterior, or without `rng` its mean."""
        mean, std = self.posteriors(tokens)
        if rng is not None:
            mean = mean + std * torch.randn(mean.shape, generator=rng, device=mean.device)
        return (mean - self.mean) / self.std

    def decode(self, z1: Float[Tensor, "b n latent"]) -> Float[Tensor, "b n vocab_size"]:
        """Logits of the tokens of standardized latents."""
        return self.logits(z1 * self.std + self.mean)

    def decode_tokens(
        self, z1: Float[Tensor, "b n latent"]
    ) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Most probable tokens of standardized latents, and their probabilities."""
        confidence, tokens = self.decode(z1).softmax(-1).max(-1)
        return tokens, confidence

    def losses(
        self, tokens: Int[Tensor, "b n"], *, step: int | Tensor, rng: torch.Generator
    ) -> Losses:
        """Cross-entropy of the tokens and the weighted KL divergence, in nats a token.

        L = cross-entropy(p(w | z), w) + beta sum_c max(KL_c, free bits),  z = mean + std xi
        KL_c = (mean^2 + std^2 - 1) / 2 - log std,  a channel's mean over all tokens
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
                "tokens": F.cross_entropy(logits.flatten(0, 1), tokens.flatten()),
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
        """Fold the moments of the latents of this step, of all processes, into running means."""
        if dist.is_initialized():
            dist.all_reduce(self.new_moments)
            dist.all_reduce(self.parts)
        for kept, new in zip((self.mean, self.square), self.new_moments / self.parts):
            kept.lerp_(new, 0.02)
        self.new_moments.zero_()
        self.parts.zero_()

    @torch.no_grad()
    def token_nll(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator | None = None, parts: int = 8
    ) -> Float[Tensor, "b n"]:
        """-log p(w_i | z), with z drawn from the posterior, or its mean where no `rng` is given."""
        return at_text(cross_entropies(self.decode(self.encode(tokens, rng)), tokens), tokens)

    @torch.no_grad()
    def held_out(self, batches: Iterable[Int[Tensor, "b n"]]) -> dict[str, float]:
        """Fractions of tokens and texts that return through encoder and decoder."""
        rng = torch.Generator(self.device).manual_seed(0)
        found = Faithfulness()
        for tokens in batches:
            tokens = tokens.to(self.device)
            found.add(self.decode_tokens(self.encode(tokens, rng))[0], tokens)
        return found.figures()

    def as_space(self, name: str) -> "VAE":
        """Its latents are the space."""
        return self


def divergence(mean: Float[Tensor, "..."], std: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """KL(N(mean, std^2) || N(0, 1)) of each channel, (mean^2 + std^2 - 1) / 2 - log std.

    Args:
        mean, std: (...), std > 0.

    Returns:
        Nats (...).
    """
    return (mean**2 + std**2 - 1) / 2 - std.log()
