"""The velocity field of a perfect policy for one word in the latent space of a VAE.

An encoder that sees one word at a time makes the distribution of a word's latent a mixture of one
Gaussian a word. So the field that flow matching would learn is known in closed form, and its
expansion rate can be computed without training a flow.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double
from ..dynamics.records import Field
from ..errors import UserError
from ..models.vae import VAE


@dataclass(frozen=True)
class WordDistribution:
    """The distribution of a word's standardized latent, sum over k of w_k N(m_k, diag v_k)."""

    log_weights: Float[Tensor, " k"]  # log of the fraction of all words
    means: Float[Tensor, "k d"]
    variances: Float[Tensor, "k d"]
    tokens: Int[Tensor, " k"]  # ids of the words

    def sample(
        self, count: int, rng: torch.Generator
    ) -> tuple[Int[Tensor, " count"], Float[Tensor, "count d"]]:
        """Draw components and their latents."""
        k = torch.multinomial(self.log_weights.exp(), count, replacement=True, generator=rng)
        xi = torch.randn(count, self.means.shape[1], generator=rng, dtype=self.means.dtype)
        return k, self.means[k] + self.variances[k].sqrt() * xi


@torch.no_grad()
def word_distribution(model: VAE, counts: Int[Tensor, " vocab_size"]) -> WordDistribution:
    """The exact distribution of one word's standardized latent, in double precision.

    Args:
        model: A VAE whose encoder has no blocks.
        counts: Of each word in the texts.

    Returns:
        The mixture of the words that occur.

    Raises:
        UserError: When the encoder sees the words around.
    """
    if model.config.n_encoder_layers:
        raise UserError(
            "this encoder sees the words around a word, so the distribution of its latent is no "
            "mixture of words: train with --model.n-encoder-layers 0"
        )
    tokens = counts.nonzero()[:, 0]
    mean, std = (double(part[:, 0]) for part in model.posteriors(tokens[:, None]))
    scale = double(model.std)
    weights = double(counts[tokens])
    means = (mean - double(model.mean)) / scale
    return WordDistribution((weights / weights.sum()).log(), means, (std / scale) ** 2, tokens)


def responsibilities(
    words: WordDistribution, z: Float[Tensor, "batch d"], t: Float[Tensor, ""] | float = 1.0
) -> Float[Tensor, "batch k"]:
    """The probability that each word made z_t on the straight path.

    r_k ~ w_k prod over c of N(z_c; t m_kc, q_kc),  q = (1 - t)^2 + t^2 v

    Args:
        words: Distribution of the words' latents.
        z: States (batch, d).
        t: The time; at t = 1 this is the best decoder of one latent.

    Returns:
        Probabilities (batch, k).

    Derived in chapter 10.
    """
    q = (1 - t) ** 2 + t**2 * words.variances
    precision = 1 / q
    squares = (
        z**2 @ precision.T
        - 2 * t * z @ (precision * words.means).T
        + (t**2 * precision * words.means**2).sum(1)
    )
    return (words.log_weights - squares / 2 - q.log().sum(1) / 2).softmax(-1)


def word_velocity(words: WordDistribution) -> Field:
    """The field that flow matching learns for one word on the straight path.

    u = (E[z_1 | z_t = z] - z) / (1 - t) = sum over k of r_k (m_k + l_k (z - t m_k))
    l = (t v - (1 - t)) / q, channel by channel

    Args:
        words: Distribution of the words' latents.

    Returns:
        A field of states (batch, d) and a scalar time.

    Derived in chapter 10.
    """

    def field(z: Tensor, t: Tensor) -> Tensor:
        r = responsibilities(words, z, t)
        rates = (t * words.variances - (1 - t)) / ((1 - t) ** 2 + t**2 * words.variances)
        return r @ ((1 - t * rates) * words.means) + z * (r @ rates)

    return field


def word_jacobian(
    words: WordDistribution, z: Float[Tensor, "batch d"], t: Float[Tensor, ""]
) -> Float[Tensor, "batch d d"]:
    """The Jacobian of `word_velocity`.

    diag(sum over k of r_k l_k) + sum over k of r_k c_k (g_k - sum over j of r_j g_j)'
    c_k = m_k + l_k (z - t m_k),  g_k = -(z - t m_k) / q_k

    Args:
        words: Distribution of the words' latents.
        z: States (batch, d).
        t: The time.

    Returns:
        Symmetric matrices (batch, d, d).

    Derived in chapter 10.
    """
    q = (1 - t) ** 2 + t**2 * words.variances
    rates = (t * words.variances - (1 - t)) / q
    r = responsibilities(words, z, t)
    gap = z[:, None] - t * words.means
    ends = words.means + rates * gap
    scores = -gap / q
    centered = scores - (r[..., None] * scores).sum(1, keepdim=True)
    outer = torch.einsum("bki,bkj->bij", r[..., None] * ends, centered)
    return torch.diag_embed(r @ rates) + outer


def pair_expansion_rates(
    words: WordDistribution, i: int, j: int, times: Float[Tensor, " time"]
) -> Float[Tensor, " time"]:
    """The expansion rate halfway between two equally likely words, at each time.

    Args:
        words: Distribution of the words' latents.
        i: Index of the first word.
        j: Index of the second word.
        times: Times (time,).

    Returns:
        Rates (time,).
    """
    pair = WordDistribution(
        torch.full((2,), 0.5).double().log(),
        words.means[[i, j]],
        words.variances[[i, j]].mean(0, keepdim=True).expand(2, -1),
        words.tokens[[i, j]],
    )
    middle = pair.means.mean(0, keepdim=True)
    jacobians = [word_jacobian(pair, t * middle, t) for t in times]
    return torch.stack([torch.linalg.eigvalsh(jacobian)[0, -1] for jacobian in jacobians])
