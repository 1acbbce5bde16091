"""What the codes of a VAE cost and carry, and what a decoder makes of latents beside them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double
from ..models.vae import VAE, divergence
from .ch10_word_field import WordDistribution, responsibilities

ACTIVE = 0.1  # nats above which a channel counts as used


@dataclass(frozen=True)
class Codes:
    """What the codes of words cost and carry, in nats a word."""

    channels: Float[Tensor, " d"]  # KL of each channel from the standard normal, mean over words
    information: float  # I(w; z), what one latent says about its word
    entropy: float  # H(w), what there is to say

    @property
    def nats(self) -> float:
        """KL of a word's posterior from the standard normal."""
        return float(self.channels.sum())

    @property
    def active(self) -> int:
        """Number of channels that cost more than a tenth of a nat."""
        return int((self.channels > ACTIVE).sum())

    @property
    def collapsed(self) -> bool:
        """Whether a latent says less than half of what there is to say about its word."""
        return self.information < self.entropy / 2


@torch.no_grad()
def codes(model: VAE, words: WordDistribution, rng: torch.Generator, draws: int = 32) -> Codes:
    """The cost of the codes, channel by channel, and the information that they carry.

    E KL(q(z|w) || N(0, I)) = I(w; z) + KL(q(z) || N(0, I))
    I(w; z) = E log r_w(z) / p(w), by draws

    Args:
        model: The VAE.
        words: Distribution of its words' latents.
        rng: Generator of the random numbers.
        draws: Draws of each word for the information.

    Returns:
        The codes. Where KL < H(w), no decoder of one latent is always right.

    Derived in chapter 10. Source: Hoffman and Johnson 2016.
    """
    weights = words.log_weights.exp()
    k = torch.arange(len(words.tokens)).repeat_interleave(draws)
    xi = torch.randn(len(k), words.means.shape[1], generator=rng, dtype=words.means.dtype)
    r = responsibilities(words, words.means[k] + words.variances[k].sqrt() * xi)
    seen = r.gather(1, k[:, None]).clamp(min=1e-300).log().view(-1, draws).mean(1)
    posteriors = model.posteriors(words.tokens[:, None])
    each = divergence(*(double(part[:, 0]) for part in posteriors))
    information = float(weights @ (seen - words.log_weights))
    return Codes(weights @ each, information, -float(weights @ words.log_weights))


@torch.no_grad()
def decode_between(
    model: VAE,
    one: Int[Tensor, " n"],
    other: Int[Tensor, " n"],
    fractions: Float[Tensor, " fraction"],
    rng: torch.Generator | None = None,
) -> tuple[Int[Tensor, "fraction n"], Float[Tensor, "fraction n"]]:
    """Decode points of the straight line between the latents of two texts, (1 - x) z + x z'.

    Args:
        model: The VAE.
        one: Token ids of the first text (n,).
        other: Token ids of the second text (n,).
        fractions: Values of x.
        rng: Draws both ends from their posteriors; without it they are the means.

    Returns:
        Tokens and their probabilities, a row for each fraction.
    """
    z, end = model.encode(torch.stack((one, other)), rng)
    x = fractions.to(z)[:, None, None]
    return model.decode_tokens((1 - x) * z + x * end)


def fraction_of_neither(
    one: Int[Tensor, " n"], other: Int[Tensor, " n"], tokens: Int[Tensor, "fraction n"]
) -> Float[Tensor, " fraction"]:
    """The fraction of tokens that stand in neither text, where the two texts differ.

    Args:
        one: Token ids of the first text (n,).
        other: Token ids of the second text (n,).
        tokens: Token ids between them (fraction, n).

    Returns:
        A fraction for each row.
    """
    differ = one != other
    neither = (tokens != one) & (tokens != other) & differ
    return neither.sum(1) / differ.sum().clamp(min=1)


@torch.no_grad()
def perturbed_accuracy(
    model: VAE,
    words: WordDistribution,
    tokens: Int[Tensor, "b n"],
    fraction: float,
    rng: torch.Generator | None = None,
) -> float:
    """The fraction of words still decoded correctly after a perturbation of their latents.

    The perturbation is as long as a fraction of the way to the nearest other word.

    Args:
        model: The VAE.
        words: Distribution of its words' latents.
        tokens: Token ids (b, n), which all occur in it.
        fraction: Of the distance.
        rng: Draws a random direction; without it the perturbation points at that word.

    Returns:
        A fraction.

    Source: after 2606.08810.
    """
    distances = torch.cdist(words.means, words.means).fill_diagonal_(float("inf"))
    at = torch.searchsorted(words.tokens, tokens)
    error = fraction * (words.means[distances.argmin(1)] - words.means)[at].float()
    if rng is not None:
        turned = torch.randn(error.shape, generator=rng)
        error = turned * (error.norm(dim=-1) / turned.norm(dim=-1))[..., None]
    decoded = model.decode_tokens(model.encode(tokens) + error)[0]
    return float((decoded == tokens).float().mean())
