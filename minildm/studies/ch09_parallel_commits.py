"""Efficiency against fidelity: tokens written in one step are drawn independently of each other.

With the true marginals, a sampler loses exactly their total correlation given the tokens before. A
model pays the staircase under the curve of its surprise instead of the area.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..text.tales import Lexicon, narrate, vocabulary
from ..text.tales_entropy import outcomes


@dataclass(frozen=True)
class Distribution:
    """A distribution of texts that are all listed: ids (texts, n) and their probabilities."""

    rows: np.ndarray
    probs: np.ndarray

    @property
    def entropy(self) -> float:
        return entropy_of(self.probs)


def entropy_of(probs: np.ndarray) -> float:
    """-sum of p log p, in nats, for positive p."""
    return float(-(probs * np.log(probs)).sum())


def tales_distribution(lexicon: Lexicon, events: int) -> Distribution:
    """The distribution of tales of a reduced world, by trying all decisions.

    Args:
        lexicon: A small one; ids count `vocabulary(lexicon)` from 1, and 0 is padding.
        events: Events of a tale.

    Returns:
        The distribution.
    """
    ids = {word: i for i, word in enumerate(vocabulary(lexicon), 1)}

    def tell(choose: Callable) -> str:
        return " ".join(narrate(choose, events, lexicon))

    drawn_texts = [(text.split(), math.exp(-nats)) for text, nats in outcomes(tell)]
    rows = np.zeros((len(drawn_texts), max(len(words) for words, _ in drawn_texts)), dtype=np.int64)
    for row, (words, _) in zip(rows, drawn_texts):
        row[: len(words)] = [ids[word] for word in words]
    return Distribution(rows, np.array([p for _, p in drawn_texts]))


def groups(distribution: Distribution, positions: Sequence[int]) -> np.ndarray:
    """A number for each text, equal for texts that agree at these positions."""
    key = np.zeros(len(distribution.rows), dtype=np.int64)
    base = distribution.rows.max() + 1
    for i in positions:
        key = np.unique(key * base + distribution.rows[:, i], return_inverse=True)[1]
    return key


def joint_entropy(distribution: Distribution, positions: Sequence[int]) -> float:
    """The entropy of the tokens at some positions together, H(w_A).

    Args:
        distribution: Of texts.
        positions: The set A.

    Returns:
        Nats, 0 for no position.
    """
    return entropy_of(np.bincount(groups(distribution, positions), weights=distribution.probs))


def total_correlation(
    distribution: Distribution, positions: Sequence[int], given: Sequence[int] = ()
) -> float:
    """What independently drawn tokens lose of each other; for two tokens their mutual information.

    sum over i in A of H(w_i | w_B) - H(w_A | w_B)

    Args:
        distribution: Of texts.
        positions: The set A, written in one step.
        given: The set B, visible before.

    Returns:
        Nats.

    Source: Watanabe 1960.
    """
    before = joint_entropy(distribution, given)
    apart = sum(joint_entropy(distribution, [*given, i]) - before for i in positions)
    return apart - (joint_entropy(distribution, [*given, *positions]) - before)


def committed(distribution: Distribution, blocks: Sequence[Sequence[int]]) -> np.ndarray:
    """The probability of each text under a sampler that writes the tokens of a block independently.

    q(w) = prod over blocks A, prod over i in A of p(w_i | tokens of earlier blocks)
    KL(p | q) = sum of the total correlations

    Args:
        distribution: Of texts, whose marginals the sampler knows.
        blocks: Positions, in the order of writing.

    Returns:
        Probabilities of the distribution's texts; their sum is the fraction of possible texts among
        those that the sampler writes.

    Derived in chapter 09.
    """

    def mass(positions: Sequence[int]) -> np.ndarray:
        key = groups(distribution, positions)
        return np.bincount(key, weights=distribution.probs)[key]

    q = np.ones(len(distribution.probs))
    seen: list[int] = []
    for block in blocks:
        for i in block:
            q *= mass([*seen, i]) / mass(seen)
        seen += block
    return q


def distinct_cost(options: int, draws: int) -> float:
    """The total correlation of uniform draws without repetition, as names are.

    k log N - sum over i < k of log(N - i)

    Args:
        options: The number N of words.
        draws: The number k of draws.

    Returns:
        Nats.
    """
    return draws * math.log(options) - sum(math.log(options - i) for i in range(draws))


def copy_cost(options: int, copies: int) -> float:
    """The total correlation of mentions of one uniform word: (c - 1) log N.

    Args:
        options: The number N of words.
        copies: The number c of mentions.

    Returns:
        Nats.
    """
    return (copies - 1) * math.log(options)


def surprise(
    distribution: Distribution, fractions: Sequence[float], draws: int, rng: torch.Generator
) -> Float[Tensor, " fractions"]:
    """The entropy of a hidden token when each token is visible with probability t.

    g(t) = E sum over hidden i of H(w_i | visible tokens) / (n (1 - t))

    Args:
        distribution: Of texts; entropies are exact, and only what is visible is drawn.
        fractions: Values of t in [0, 1).
        draws: Draws of arrival times, each used for all fractions.
        rng: Generator of the random numbers.

    Returns:
        Nats a position for each fraction, falling from the mean marginal entropy.

    Derived in chapter 09.
    """
    n = distribution.rows.shape[1]
    totals = torch.zeros(len(fractions), dtype=torch.float64)
    for arrival in torch.rand(draws, n, generator=rng).tolist():
        for k, t in enumerate(fractions):
            seen = [i for i in range(n) if arrival[i] < t]
            before = joint_entropy(distribution, seen)
            hidden = [i for i in range(n) if arrival[i] >= t]
            nats = sum(joint_entropy(distribution, [*seen, i]) - before for i in hidden)
            totals[k] += nats / (1 - t)
    return totals / (n * draws)


def staircase(curve: Sequence[float] | Tensor, n: int, steps: int) -> float:
    """What ancestral sampling in S steps pays: the staircase over a falling curve of surprise.

    n/S sum over k < S of g(k/S)

    Less the entropy H it is the cost of S steps, and the fraction of possible texts is at least
    exp(-cost).

    Args:
        curve: Values of g at fractions j/K, j < K.
        n: Positions of a text.
        steps: The number S of steps, which divides K.

    Returns:
        Nats a text.

    Raises:
        ValueError: When S does not divide K.
    """
    if len(curve) % steps:
        raise ValueError(f"{steps} steps do not divide {len(curve)} fractions")
    coarse = curve[:: len(curve) // steps]
    return n * float(sum(coarse)) / steps
