"""The efficiency-fidelity law: words written in one step are drawn independently, and what they
knew of each other is lost.

With the true marginals, what is lost is exactly their total correlation given the words before; a
model pays the staircase under the curve of its surprise instead of the area. Chapter 09 derives
both, and what share of tales must still be right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..models.masked import MaskedDiffusion
from ..text.batches import valid_batches
from ..text.tales import LEXICON, Lexicon, narrate, vocabulary
from ..text.tales_entropy import outcomes
from ..text.tales_parser import log_prob
from ..tokens import MASK


@dataclass(frozen=True)
class Law:
    """A law of texts, all of them written out: ids (texts, n), padded alike, and their
    probabilities.
    """

    rows: np.ndarray
    probs: np.ndarray

    @property
    def entropy(self) -> float:
        return float(-(self.probs * np.log(self.probs)).sum())


def tales_law(lexicon: Lexicon, events: int) -> Law:
    """The law of tales of a reduced world, by trying all decisions; ids count `vocabulary(lexicon)`
    from 1, 0 is padding.

    Args:
        lexicon: Small.
        events: A tale.

    Returns:
        A `Law`.
    """
    ids = {word: i for i, word in enumerate(vocabulary(lexicon), 1)}
    told = [
        (text.split(), math.exp(-nats))
        for text, nats in outcomes(lambda choose: " ".join(narrate(choose, events, lexicon)))
    ]
    rows = np.zeros((len(told), max(len(words) for words, _ in told)), dtype=np.int64)
    for row, (words, _) in zip(rows, told):
        row[: len(words)] = [ids[word] for word in words]
    return Law(rows, np.array([p for _, p in told]))


def groups(law: Law, positions: Sequence[int]) -> np.ndarray:
    """Which texts agree at these positions: a number for each text, equal for equal words."""
    key = np.zeros(len(law.rows), dtype=np.int64)
    for i in positions:
        key = np.unique(key * (law.rows.max() + 1) + law.rows[:, i], return_inverse=True)[1]
    return key


def joint_entropy(law: Law, positions: Sequence[int]) -> float:
    """How uncertain the words at some positions are together, H(w_A).

    Args:
        law: The distribution.
        positions: A.

    Returns:
        Nats, 0 for no position.
    """
    p = np.bincount(groups(law, positions), weights=law.probs)
    return float(-(p * np.log(p)).sum())


def total_correlation(law: Law, positions: Sequence[int], given: Sequence[int] = ()) -> float:
    """What words drawn independently lose of each other; for two words their mutual information.

    sum_{i in A} H(w_i | w_B) - H(w_A | w_B)

    Args:
        law: The distribution.
        positions: A, written in one step.
        given: B, visible before.

    Returns:
        Nats.

    Source: Watanabe 1960.
    """
    before = joint_entropy(law, given)
    apart = sum(joint_entropy(law, [*given, i]) - before for i in positions)
    return apart - (joint_entropy(law, [*given, *positions]) - before)


def committed(law: Law, blocks: Sequence[Sequence[int]]) -> np.ndarray:
    """How probable each text is for a sampler that knows all true marginals but writes each block's
    words independently.

    q(w) = prod over blocks A, prod_{i in A} p(w_i | words of earlier blocks);  KL(p | q) = sum of
    the total correlations

    Args:
        law: The distribution.
        blocks: Of positions, in the order of writing.

    Returns:
        Probabilities of the law's texts, whose sum is the share of the sampler's texts that the law
        allows.

    Derived in chapter 09.
    """

    def mass(positions: Sequence[int]) -> np.ndarray:
        key = groups(law, positions)
        return np.bincount(key, weights=law.probs)[key]

    q, seen = np.ones(len(law.probs)), []
    for block in blocks:
        for i in block:
            q *= mass([*seen, i]) / mass(seen)
        seen += block
    return q


def distinct_price(options: int, draws: int) -> float:
    """Total correlation of words drawn uniformly without repetition, as names are: k log N -
    sum_{i<k} log(N - i).

    Args:
        options: N.
        draws: k.

    Returns:
        Nats.
    """
    return draws * math.log(options) - sum(math.log(options - i) for i in range(draws))


def copy_price(options: int, copies: int) -> float:
    """Total correlation of mentions of one uniform word, as of a species told twice: (c - 1) log N.

    Args:
        options: N.
        copies: c.

    Returns:
        Nats.
    """
    return (copies - 1) * math.log(options)


def pair_information(words: Sequence[str], i: int, j: int, lexicon: Lexicon = LEXICON) -> float:
    """What two words of a tale know of each other given all others, exactly, by scoring every pair
    that could stand there.

    I(w_i; w_j | the rest) = sum p(v, v') log(p(v, v') / (p(v) p(v'))), p(v, v') proportional to the
    law of tales

    Args:
        words: Of a tale that the law allows.
        i, j: Positions.
        lexicon: . A word is tried against the others of its class, closed words against closed
            words.

    Returns:
        Nats.

    Derived in chapter 09.
    """
    classes = [
        set(getattr(lexicon, name))
        for name in ("name", "species", "trait", "place", "color", "kind", "mood")
    ]
    closed = set(vocabulary(lexicon)) - set().union(*classes)
    first, second = (
        sorted(set().union(*(c for c in [*classes, closed] if words[at] in c))) for at in (i, j)
    )
    joint = np.zeros((len(first), len(second)))
    for (x, v), (y, w) in product(enumerate(first), enumerate(second)):
        trial = list(words)
        trial[i], trial[j] = v, w
        joint[x, y] = math.exp(log_prob(" ".join(trial), lexicon))
    joint /= joint.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float(
        (joint * np.log(np.where(joint > 0, joint / np.where(apart > 0, apart, 1), 1))).sum()
    )


def surprise(
    law: Law, shares: Sequence[float], draws: int, rng: torch.Generator
) -> Float[Tensor, " shares"]:
    """How uncertain a hidden word is when each word is visible with probability t, exactly but for
    the draw of what is visible.

    g(t) = E sum_{i hidden} H(w_i | visible words) / (n (1 - t)), which falls from the mean marginal
    entropy

    Args:
        law: The distribution.
        shares: t in [0, 1).
        draws: Of times of arrival, each used at all shares.
        rng: Generator of the random numbers.

    Returns:
        Nats a position.

    Derived in chapter 09.
    """
    n = law.rows.shape[1]
    totals = torch.zeros(len(shares), dtype=torch.float64)
    for arrival in torch.rand(draws, n, generator=rng).tolist():
        for k, t in enumerate(shares):
            seen = [i for i in range(n) if arrival[i] < t]
            known = joint_entropy(law, seen)
            totals[k] += sum(
                joint_entropy(law, [*seen, i]) - known for i in range(n) if arrival[i] >= t
            ) / (1 - t)
    return totals / (n * draws)


@torch.no_grad()
def model_surprise(
    model: MaskedDiffusion, rows: np.ndarray, shares: Sequence[float], rng: torch.Generator
) -> Float[Tensor, " shares"]:
    """How surprised a masked model is by a hidden word when each word is visible with probability
    t.

    g(t) = E sum_{i hidden} -log p_i(w_i | visible words) / (n (1 - t)), above that of the law by
    what the model does not know

    Args:
        model: The model.
        rows: (texts, n), ids.
        shares: t in [0, 1).
        rng: Generator of the random numbers.

    Returns:
        Nats a position at each share.

    Derived in chapter 09.
    """
    totals = torch.zeros(len(shares), dtype=torch.float64)
    for tokens in valid_batches(rows, 64):
        tokens = tokens.to(model.device)
        arrival = torch.rand(tokens.shape, generator=rng, device=tokens.device)
        for k, t in enumerate(shares):
            hidden = arrival >= t
            logits = model.logits(tokens.masked_fill(hidden, MASK)).float()
            nats = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
            totals[k] += (nats * hidden).sum().item() / (1 - t)
    return totals / rows.size


def staircase(curve: Sequence[float] | Tensor, n: int, steps: int) -> float:
    """What ancestral sampling in S steps pays: the staircase over a falling curve of surprise, its
    area as S grows.

    n/S sum_{k<S} g(k/S);  less the entropy H it is the price of S steps, and the share of right
    texts is at least e^-price

    Args:
        curve: g at shares j/K, j < K.
        n: Positions.
        steps: S, which divides K.

    Returns:
        Nats a text.

    Raises:
        ValueError: When S does not divide K.
    """
    if len(curve) % steps:
        raise ValueError(f"{steps} steps do not divide {len(curve)} shares")
    stairs = curve[:: len(curve) // steps]
    return n * float(sum(stairs)) / steps
