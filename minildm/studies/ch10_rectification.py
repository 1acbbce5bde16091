"""Rectification: how stiff the space of a trained VAE is, and how many steps a sampler needs in it.

An encoder that sees one word at a time makes the law of a word's latent a mixture with one Gaussian
a word. So the field that a perfect policy would have for a word alone is known in closed form, and
its stiffness can be computed without training a flow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.adaptive import DormandPrince
from ..dynamics.precision import double
from ..dynamics.records import Field
from ..dynamics.solvers import integrate
from ..errors import UserError
from ..models.vae import VAE

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # numbers of Euler steps that are tried


@dataclass(frozen=True)
class WordLaw:
    """The law of a word's standardized latent z_1, sum_k w_k N(m_k, diag v_k), a Gaussian for each
    word that occurs.
    """

    log_weights: Float[Tensor, " k"]  # log share of a word among all words
    means: Float[Tensor, "k d"]
    variances: Float[Tensor, "k d"]
    tokens: Int[Tensor, " k"]  # ids of the words

    def sample(
        self, count: int, rng: torch.Generator
    ) -> tuple[Int[Tensor, " count"], Float[Tensor, "count d"]]:
        """Draw words, as places in the law, and their latents."""
        k = torch.multinomial(self.log_weights.exp(), count, replacement=True, generator=rng)
        xi = torch.randn(count, self.means.shape[1], generator=rng, dtype=self.means.dtype)
        return k, self.means[k] + self.variances[k].sqrt() * xi


@torch.no_grad()
def word_law(model: VAE, counts: Int[Tensor, " vocabulary"]) -> WordLaw:
    """The exact law of one word's standardized latent, in double precision.

    Args:
        model: Whose encoder has no blocks.
        counts: Of each word in the texts.

    Returns:
        A `WordLaw`.

    Raises:
        UserError: When the encoder looks at neighbors.
    """
    if model.config.n_encoder_layers:
        raise UserError(
            "this encoder looks at a word's neighbors, so the law of a word is no mixture over words: "
            "train with --model.encoder-layers 0"
        )
    tokens = counts.nonzero()[:, 0]
    mean, std = (double(part[:, 0]) for part in model.posteriors(tokens[:, None]))
    scale = double(model.std)
    share = double(counts[tokens])
    return WordLaw(
        (share / share.sum()).log(), (mean - double(model.mean)) / scale, (std / scale) ** 2, tokens
    )


# --- the field of a perfect policy for one word ----------------------------------------------------------------------------


def read(
    law: WordLaw, z: Float[Tensor, "batch d"], t: Float[Tensor, ""] | float = 1.0
) -> Float[Tensor, "batch k"]:
    """How likely each word made z_t on the straight path; at t = 1 the best reader of one latent.

    r_k ~ w_k prod_c N(z_c; t m_kc, q_kc),  q = (1 - t)^2 + t^2 v

    Args:
        law: The distribution.
        z: (batch, d).
        t: Time, a scalar or (batch,).

    Returns:
        Probabilities (batch, k).

    Derived in chapter 10.
    """
    q = (1 - t) ** 2 + t**2 * law.variances
    precision = 1 / q
    squares = (
        z**2 @ precision.T
        - 2 * t * z @ (precision * law.means).T
        + (t**2 * precision * law.means**2).sum(1)
    )
    return (law.log_weights - squares / 2 - q.log().sum(1) / 2).softmax(-1)


def law_velocity(law: WordLaw) -> Field:
    """The field that flow matching learns for the law on the straight path, u = (E[z_1 | z_t = z] -
    z) / (1 - t).

    u = sum_k r_k (m_k + l_k (z - t m_k)),  l = (t v - (1 - t)) / q, channel by channel

    Args:
        law: The distribution.

    Returns:
        A field of z (batch, d) and scalar t.

    Derived in chapter 10.
    """

    def field(z: Tensor, t: Tensor) -> Tensor:
        r = read(law, z, t)
        rates = (t * law.variances - (1 - t)) / ((1 - t) ** 2 + t**2 * law.variances)
        return r @ ((1 - t * rates) * law.means) + z * (r @ rates)

    return field


def law_jacobian(
    law: WordLaw, z: Float[Tensor, "batch d"], t: Float[Tensor, ""]
) -> Float[Tensor, "batch d d"]:
    """The Jacobian of `law_velocity`, `transport.expansion_rate.mixture_jacobian` with a width for each
    word and channel.

    diag(sum_k r_k l_k) + sum_k r_k c_k (g_k - sum_j r_j g_j)',  c_k = m_k + l_k (z - t m_k),  g_k =
    -(z - t m_k) / q_k

    Args:
        law: The distribution.
        z: (batch, d).
        t: Scalar.

    Returns:
        (batch, d, d), symmetric.

    Derived in chapter 10.
    """
    q = (1 - t) ** 2 + t**2 * law.variances
    rates, r = (t * law.variances - (1 - t)) / q, read(law, z, t)
    gap = z[:, None] - t * law.means
    pulls, scores = law.means + rates * gap, -gap / q
    turns = scores - (r[..., None] * scores).sum(1, keepdim=True)
    return torch.diag_embed(r @ rates) + torch.einsum("bki,bkj->bij", r[..., None] * pulls, turns)


def border(law: WordLaw, i: int, j: int, times: Float[Tensor, " time"]) -> Float[Tensor, " time"]:
    """Top rate halfway between two words, each as likely as the other, at each time:
    `midpoint_expansion_rate` of a pair.

    Args:
        law: The distribution.
        i, j: Places of the words in it.
        times: Times (time,).

    Returns:
        Rates (time,).
    """
    pair = WordLaw(
        torch.full((2,), 0.5).double().log(),
        law.means[[i, j]],
        law.variances[[i, j]].mean(0, keepdim=True).expand(2, -1),
        law.tokens[[i, j]],
    )
    middle = pair.means.mean(0, keepdim=True)
    return torch.stack(
        [torch.linalg.eigvalsh(law_jacobian(pair, t * middle, t))[0, -1] for t in times]
    )


# --- steps to tolerance ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walks:
    """Ends of many paths from the same noise: exact, and in Euler steps by their number."""

    exact: Float[Tensor, "batch d"]
    ends: dict[int, Float[Tensor, "batch d"]]

    def errors(self, quantile: float | None = None) -> dict[int, float]:
        """Root mean square error of a channel at the end, over all paths or of the one at a
        quantile, 0.5 the typical path.
        """
        off = {steps: (end - self.exact).square().mean(1) for steps, end in self.ends.items()}
        return {
            steps: float(each.mean() if quantile is None else each.quantile(quantile)) ** 0.5
            for steps, each in off.items()
        }

    def misread(self, law: WordLaw) -> dict[int, float]:
        """Share of ends that the best reader reads as another word than the exact end."""
        words = read(law, self.exact).argmax(1)
        return {
            steps: float(double(read(law, end).argmax(1) != words).mean())
            for steps, end in self.ends.items()
        }


def walks(
    law: WordLaw,
    count: int,
    rng: torch.Generator,
    ladder: Sequence[int] = LADDER,
    tolerance: float = 1e-5,
) -> Walks:
    """Carry noise to words with even Euler steps and with an adaptive solver.

    Args:
        law: The distribution.
        count: Of paths.
        rng: Generator of the random numbers.
        ladder: Numbers of steps.
        tolerance: Of the adaptive solver, which counts as exact.

    Returns:
        `Walks`.
    """
    field, z0 = (
        law_velocity(law),
        torch.randn(count, law.means.shape[1], generator=rng, dtype=law.means.dtype),
    )
    ends = torch.tensor([0.0, 1.0], dtype=z0.dtype)
    exact = integrate(field, z0, ends, DormandPrince(tolerance, tolerance), record=False).states[-1]
    return Walks(
        exact,
        {
            steps: integrate(
                field, z0, torch.linspace(0, 1, steps + 1, dtype=z0.dtype), record=False
            ).states[-1]
            for steps in ladder
        },
    )


def first_within(errors: dict[int, float], tolerance: float) -> float:
    """Steps from which on all errors are within the tolerance, between two rungs of the ladder on a line of logarithms.

    Args: `errors` by number of steps; `tolerance`. Returns a number of steps, infinite if even the most are too few.
    Derived in chapter 10. Source: ours.
    """
    ladder = sorted(errors)
    late = [steps for steps in ladder if errors[steps] > tolerance]
    if not late:
        return float(ladder[0])
    if late[-1] == ladder[-1]:
        return float("inf")
    a, b = late[-1], ladder[ladder.index(late[-1]) + 1]
    high, low = errors[a], max(errors[b], tolerance * 1e-6)
    share = torch.tensor(high / tolerance).log() / torch.tensor(high / low).log()
    return float(a * (b / a) ** share)


def squeezed(std: Float[Tensor, "*w"], steps: int) -> Float[Tensor, "*w"]:
    """The width that even Euler steps give a word once it is decided, instead of s: the product of
    1 + l(k/S) / S.

    Args:
        std: s > 0.
        steps: S.

    Returns:
        c_S like `std`.
    """
    t = torch.arange(steps, dtype=std.dtype) / steps
    variance = std[..., None] ** 2
    return (1 + (t * variance - (1 - t)) / ((1 - t) ** 2 + t**2 * variance) / steps).prod(-1)


def decided(std: Float[Tensor, "*w"]) -> Float[Tensor, "*w"]:
    """What arriving at a decided word costs Euler: S log(s / c_S) for many steps, 1/2 + pi (1 +
    s^2) / (8 s).

    Args:
        std: s > 0.

    Returns:
        Steps times relative error.
    """
    return 0.5 + math.pi * (1 + std**2) / (8 * std)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation: the correlation of the places in order, equal values sharing their mean
    place.

    Args:
        x, y: Equally long.

    Returns:
        A number in [-1, 1].
    """

    def places(values: Sequence[float]) -> Tensor:
        v = torch.tensor(values, dtype=torch.float64)
        return (v[:, None] > v).sum(1) + ((v[:, None] == v).sum(1) - 1) / 2

    return float(torch.corrcoef(torch.stack((places(x), places(y))))[0, 1])
