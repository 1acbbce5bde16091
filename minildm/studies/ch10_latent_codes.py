"""What a latent space is worth to a reader: what its codes cost and carry, and what is read beside
them and between texts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double
from ..models.vae import VAE, divergence
from .ch10_rectification import WordLaw, read


@dataclass(frozen=True)
class Codes:
    """What the codes of words cost and carry, in nats a word."""

    channels: Float[Tensor, " d"]  # KL of each channel from the standard normal, mean over words
    information: float  # I(w; z), what a reader of one latent can know about its word
    entropy: float  # H(w), what there is to know

    @property
    def nats(self) -> float:
        """KL of a word's posterior from the standard normal."""
        return float(self.channels.sum())

    @property
    def active(self) -> int:
        """Channels that cost more than a tenth of a nat."""
        return int((self.channels > 0.1).sum())

    @property
    def collapsed(self) -> bool:
        """Whether less than half of what there is to know about a word gets through."""
        return self.information < self.entropy / 2


@torch.no_grad()
def codes(model: VAE, law: WordLaw, rng: torch.Generator, draws: int = 32) -> Codes:
    """The price of the codes, channel by channel, and what they carry: E KL(q(z|w) || N(0, I)) =
    I(w; z) + KL(q(z) || N(0, I)).

    I(w; z) = E log r_w(z) / p(w), by draws. Where KL < H(w), no reader of one latent is always
    right.

    Args:
        model: ; its `law`.
        rng: Generator of the random numbers.
        draws: Of each word for the information.

    Returns:
        `Codes`.

    Derived in chapter 10. Source: Hoffman and Johnson 2016.
    """
    share, k = law.log_weights.exp(), torch.arange(len(law.tokens)).repeat_interleave(draws)
    xi = torch.randn(len(k), law.means.shape[1], generator=rng, dtype=law.means.dtype)
    seen = (
        read(law, law.means[k] + law.variances[k].sqrt() * xi)
        .gather(1, k[:, None])
        .clamp(min=1e-300)
        .log()
    )
    each = divergence(*(double(part[:, 0]) for part in model.posteriors(law.tokens[:, None])))
    information = share @ (seen.view(-1, draws).mean(1) - law.log_weights)
    return Codes(share @ each, float(information), -float(share @ law.log_weights))


@torch.no_grad()
def between(
    model: VAE,
    one: Int[Tensor, " n"],
    other: Int[Tensor, " n"],
    shares: Float[Tensor, " share"],
    rng: torch.Generator | None = None,
) -> tuple[Int[Tensor, "share n"], Float[Tensor, "share n"]]:
    """Read what lies on the straight line between the latents of two texts, (1 - x) z + x z'.

    Args:
        model: The model.
        one, other: (n,), texts.
        shares: x.
        rng: Draws both ends from their posteriors, without it they are means.

    Returns:
        Words and their probabilities (share, n).
    """
    z, end = model.encode(torch.stack((one, other)), rng)
    x = shares.to(z)[:, None, None]
    return model.decode_tokens((1 - x) * z + x * end)


def third(
    one: Int[Tensor, " n"], other: Int[Tensor, " n"], words: Int[Tensor, "share n"]
) -> Float[Tensor, " share"]:
    """Share of words on the way that stand in neither text, among places where the two differ.

    Args:
        one, other: (n,).
        words: (share, n).

    Returns:
        (share,).
    """
    differ = one != other
    return ((words != one) & (words != other) & differ).sum(1) / differ.sum().clamp(min=1)


@torch.no_grad()
def nudged(
    model: VAE,
    law: WordLaw,
    tokens: Int[Tensor, "b n"],
    share: float,
    rng: torch.Generator | None = None,
) -> float:
    """Share of words still read rightly after an error of a given length: a share of the way to the
    nearest other word.

    Args:
        model: ; its `law`.
        tokens: That all occur in it.
        share: Of the distance.
        rng: Turns the error in a random direction, without it the error points at that word.

    Returns:
        A share.

    Source: ours, after 2606.08810.
    """
    far = torch.cdist(law.means, law.means).fill_diagonal_(float("inf"))
    at = torch.searchsorted(law.tokens, tokens)
    error = share * (law.means[far.argmin(1)] - law.means)[at].float()
    if rng is not None:
        turned = torch.randn(error.shape, generator=rng)
        error = turned * (error.norm(dim=-1) / turned.norm(dim=-1))[..., None]
    return float((model.decode_tokens(model.encode(tokens) + error)[0] == tokens).float().mean())
