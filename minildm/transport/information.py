"""Time in units of information, and the likelihood of tokens along a path of noise levels.

I(t) = E log p(w | z_t) / p(w) nats are known of a token by a latent z_t alone. In a Gaussian
channel information grows by half the squared error of the posterior mean for each unit of the
signal-to-noise ratio (the I-MMSE relation), so that a denoiser has a likelihood along any path.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .codebook import Codebook
from .time_sampling import TimeDistribution

DRAWS = 4000  # latents over which information is averaged
CELLS = 200  # of the table of I(t)


def mutual_information(
    book: Codebook, log_probs: Float[Tensor, " tokens"], times: Float[Tensor, " time"]
) -> Float[Tensor, " time"]:
    """What latents say of their tokens, I(t) = E log p(w | z_t) / p(w), by one set of draws.

    Args:
        book: Codes of the tokens.
        log_probs: log p(w) (tokens,), of tokens without their context.
        times: Times (time,), below 1.

    Returns:
        Nats (time,), from 0 at t = 0 to at most the entropy of p.
    """
    rng = torch.Generator().manual_seed(0)
    tokens = torch.multinomial(log_probs.exp(), DRAWS, replacement=True, generator=rng)
    shape = DRAWS, book.means.shape[1]
    z1 = book.means[tokens] + book.variances.sqrt() * torch.randn(shape, generator=rng)
    z0 = torch.randn(shape, generator=rng)
    found: list[Tensor] = []
    for t in times:
        evidence = book.evidence(t * z1 + (1 - t) * z0, t.expand(DRAWS))
        posterior = (log_probs + evidence).log_softmax(-1)
        gained = posterior.gather(1, tokens[:, None])[:, 0] - log_probs[tokens]
        found.append(gained.mean())
    return torch.stack(found)


class InformationTime(TimeDistribution):
    """Times at which equal steps of v tell equally much of a token: v = (1 - e) I(t) / I(1) + e t.

    Args:
        book: Codes of the tokens.
        log_probs: log p(w) (tokens,), of tokens without their context.
        uniform: e > 0, the fraction of v that is spread evenly over time.
    """

    def __init__(self, book: Codebook, log_probs: Float[Tensor, " tokens"], uniform: float = 0.03):
        times = torch.linspace(0, 1, CELLS + 1)[:-1]
        nats = mutual_information(book, log_probs, times).cummax(0).values.clamp(min=0)
        known = (nats - nats[0]) / (nats[-1] - nats[0])
        self.times = torch.cat((times, torch.ones(1)))
        self.fractions = (1 - uniform) * torch.cat((known, torch.ones(1))) + uniform * self.times

    def warp(self, v: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        fractions = self.fractions.to(v.device)
        times = self.times.to(v.device)
        cell = torch.searchsorted(fractions, v.contiguous()).clamp(1, CELLS)
        low = fractions[cell - 1]
        part = (v - low) / (fractions[cell] - low)
        return times[cell - 1].lerp(times[cell], part)

    def density(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        cell = (t * CELLS).long().clamp(max=CELLS - 1)
        return (self.fractions.diff() * CELLS).to(t.device)[cell]


def signal_to_noise(book: Codebook, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
    """The signal-to-noise ratio of each channel, gamma_c = t^2 / (t^2 s_c^2 + (1 - t)^2).

    Args:
        book: Codes of the tokens.
        t: Times (...).

    Returns:
        gamma (..., d).
    """
    return t[..., None] ** 2 / book.spread(t)


def information_rate(
    book: Codebook,
    log_probs: Float[Tensor, "*n tokens"],
    tokens: Int[Tensor, "*n"],
    slope: Float[Tensor, "*n d"],
) -> Float[Tensor, "*n"]:
    """Nats of a token that are gained for each unit of v, by a denoiser that says p of it.

        -d log p(w) / dv = 1/2 sum_c (m_wc - sum_u p_u m_uc)^2 dgamma_c / dv

    Its integral over a path from noise to data, and -log p(w | z_1) at the end, is -log p(w) for
    the exact posterior, whatever the path; for a denoiser it exceeds that by the divergence of what
    the denoiser writes along this path.

    Args:
        book: Codes m of the tokens.
        log_probs: Logits of p, of any normalization.
        tokens: w.
        slope: dgamma / dv, for each channel.

    Returns:
        Nats per unit of v.

    Source: Guo, Shamai and Verdu 2005; Verdu 2010, for a wrong denoiser.
    """
    error = book.means[tokens] - log_probs.softmax(-1) @ book.means
    return 0.5 * (error.square() * slope).sum(-1)
