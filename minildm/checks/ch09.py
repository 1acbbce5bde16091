"""Checks of chapter 09: an ancestral step, a total correlation, the price of steps, a soft choice's
adjoint, a baseline.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..models.base import MASK
from .rules import Small, without_autograd
from .verdict import exercise


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def entropy(p: torch.Tensor) -> torch.Tensor:
    """-sum p log p in nats, where 0 log 0 = 0."""
    return -torch.special.xlogy(p, p).sum()


@exercise(
    "09.1",
    hints=(
        "which positions may change at all, and which of them would have opened before t?",
        "a position that is still masked at t has an opening time between t and 1; how likely is it that the time is before s?",
        "compare `chance` with the probability (09.4), and take the drawn word only where there is a mask",
    ),
)
def check_1():
    """Whether each mask opens, decided one by one; from t = 0 to 1 all do, and nothing happens in
    no time.
    """
    rng = torch.Generator().manual_seed(1)
    for shape in ((1, 4), (3, 7), (5, 2)):
        for t, s in ((0.0, 1.0), (0.2, 0.5), (0.9, 0.95), (0.4, 0.4)):
            tokens = torch.randint(3, 9, shape, generator=rng)
            words = torch.randint(4, 9, shape, generator=rng)
            chance = torch.rand(shape, generator=rng, dtype=torch.float64)
            expected = torch.tensor(
                [
                    [
                        word if token == MASK and (1 - t) * u < s - t else token
                        for token, word, u in zip(*row)
                    ]
                    for row in zip(tokens.tolist(), words.tolist(), chance.tolist())
                ]
            )
            yield (tokens, words, chance, t, s), expected


@exercise(
    "09.2",
    hints=(
        "how would you draw all words independently of each other, and from which tables?",
        "you need an entropy for each axis alone and one of the whole table",
        "for the marginal of one word, sum the table over all other axes; in an entropy, 0 log 0 counts as zero",
    ),
)
def check_2():
    """A product has none, copies cost (m - 1) log N, names without repetition log N/(N - 1); else
    KL to the product.
    """
    rng = torch.Generator().manual_seed(2)
    a, b, c = (randn(rng, k).softmax(0) for k in (3, 4, 2))
    yield (a[:, None, None] * b[:, None] * c,), 0.0
    for N in (2, 5):
        yield (torch.eye(N, dtype=torch.float64) / N,), math.log(N)
        yield ((1 - torch.eye(N, dtype=torch.float64)) / (N * (N - 1)),), math.log(N / (N - 1))
        three = torch.zeros(N, N, N, dtype=torch.float64)
        three[range(N), range(N), range(N)] = 1 / N
        yield (three,), 2 * math.log(N)
    for shape in ((3, 5), (2, 3, 4), (2, 2, 2, 2)):
        joint = randn(rng, math.prod(shape)).softmax(0).reshape(shape)
        product = torch.ones(shape, dtype=torch.float64)
        for axis in range(len(shape)):
            product = product * joint.sum([k for k in range(len(shape)) if k != axis], keepdim=True)
        yield (joint,), float((joint * (joint / product).log()).sum())


@exercise(
    "09.3",
    hints=(
        "in which cases do the two words cost anything at all?",
        "what is g(t) of (09.12) for two words: which kind of curve, and by how much does it fall?",
        "the price is due when both words fall into the same step, and then it is what one word says about the other",
    ),
)
def check_3():
    """For two words the staircase is exact: their mutual information over the number of steps."""
    rng = torch.Generator().manual_seed(3)
    for shape in ((2, 2), (3, 6)):
        pair = (randn(rng, *shape) + 3 * torch.eye(*shape)).flatten().softmax(0).reshape(shape)
        information = float(entropy(pair.sum(0)) + entropy(pair.sum(1)) - entropy(pair))
        for steps in (1, 2, 7, 100):
            yield (pair, steps), information / steps
    yield (torch.eye(4, dtype=torch.float64) / 4, 8), math.log(4) / 8


@contextmanager
def by_hand(scores: torch.Tensor) -> Iterator[None]:
    """Inside, neither derivatives by autograd nor a tensor as large as a matrix for each choice are
    allowed.
    """
    with without_autograd(), Small(most=2 * scores.numel()):
        yield


@exercise(
    "09.4",
    rule=lambda inputs: by_hand(inputs[0]),
    hints=(
        "the matrix of (09.20) has two parts: what does each of them do to a vector?",
        "the diagonal multiplies entry by entry, and the outer product needs only one number for each choice",
        "the number is the mean of v under pi; the matrix is symmetric, so transposing it changes nothing; mind tau",
    ),
)
def check_4():
    """The vector-Jacobian product of softmax(scores / tau), by autograd; it vanishes for a constant
    v.
    """
    rng = torch.Generator().manual_seed(4)
    for shape in ((5,), (2, 7), (4, 1, 6)):
        for tau in (0.5, 1.0, 3.0):
            scores, v = randn(rng, *shape), randn(rng, *shape)
            _, pull = torch.func.vjp(lambda x, tau=tau: (x / tau).softmax(-1), scores)
            yield (scores, tau, v), pull(v)[0]
            yield (
                (scores, tau, torch.ones(shape, dtype=torch.float64)),
                torch.zeros(shape, dtype=torch.float64),
            )


@exercise(
    "09.5",
    hints=(
        "which number may be subtracted from a cost without changing the mean of (09.23), and on what may it not depend?",
        "the baseline of each draw is another number: a mean over all draws but this one",
        "the sum over the others is the sum over all less the own cost; then multiply by the scores and average over draws",
    ),
)
def check_5():
    """Costs less the mean of the others, times scores; equal costs give zero; two draws give half
    the difference twice.
    """
    rng = torch.Generator().manual_seed(5)
    for draws, d in ((2, 1), (5, 3), (20, 4)):
        costs, scores = randn(rng, draws), randn(rng, draws, d)
        total = torch.zeros(d, dtype=torch.float64)
        for i in range(draws):
            others = [costs[j] for j in range(draws) if j != i]
            total = total + (costs[i] - sum(others) / len(others)) * scores[i]
        yield (costs, scores), total / draws
        yield (torch.ones(draws, dtype=torch.float64), scores), torch.zeros(d, dtype=torch.float64)
