"""Checks of chapter 09: an ancestral step, total correlation, adjoints, a baseline."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..tokens import MASK
from .draws import rand, randn
from .rules import Small, without_autograd
from .verdict import exercise


def entropy(p: torch.Tensor) -> torch.Tensor:
    """-sum p log p in nats, where 0 log 0 = 0."""
    return -torch.special.xlogy(p, p).sum()


@exercise(
    "09.1",
    hints=(
        "which positions may change at all, and which of them would have opened before t?",
        "a masked position opens at a time between t and 1: how likely is it before s?",
        "compare `chance` with (09.4), and take the sampled token only where there is a mask",
    ),
)
def check_1():
    """Whether each mask opens, decided one by one; all do from 0 to 1, none in no time."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((1, 4), (3, 7), (5, 2)):
        for t, s in ((0.0, 1.0), (0.2, 0.5), (0.9, 0.95), (0.4, 0.4)):
            tokens = torch.randint(3, 9, shape, generator=rng)
            sampled = torch.randint(4, 9, shape, generator=rng)
            chance = rand(rng, *shape)
            expected = torch.tensor(
                [
                    [
                        new if token == MASK and (1 - t) * u < s - t else token
                        for token, new, u in zip(*row)
                    ]
                    for row in zip(tokens.tolist(), sampled.tolist(), chance.tolist())
                ]
            )
            yield (tokens, sampled, chance, t, s), expected


@exercise(
    "09.2",
    hints=(
        "how would you draw all words independently of each other, and from which tables?",
        "you need an entropy for each axis alone and one of the whole table",
        "for the marginal of one word, sum over all other axes; in an entropy 0 log 0 is zero",
    ),
)
def check_2():
    """Products, copies, names without repetition; else the KL to the product of marginals."""
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
        "which curve is g(t) of (09.12) for two words, and by how much does it fall?",
        "the cost arises when both fall into one step, and is then their mutual information",
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
    """Inside, neither autograd nor a tensor as large as a matrix for each choice is allowed."""
    with without_autograd(), Small(most=2 * scores.numel()):
        yield


@exercise(
    "09.4",
    rule=lambda inputs: by_hand(inputs[0]),
    hints=(
        "the matrix of (09.20) has two parts: what does each of them do to a vector?",
        "the diagonal multiplies entry by entry; the outer product needs one number a choice",
        "the number is the mean of v under pi; the matrix is symmetric; mind tau",
    ),
)
def check_4():
    """The vector-Jacobian product of softmax(scores / tau) by autograd; zero for a constant v."""
    rng = torch.Generator().manual_seed(4)
    for shape in ((5,), (2, 7), (4, 1, 6)):
        for tau in (0.5, 1.0, 3.0):
            scores, v = randn(rng, *shape), randn(rng, *shape)
            chosen = torch.func.vjp(lambda x, tau=tau: (x / tau).softmax(-1), scores)
            yield (scores, tau, v), chosen[1](v)[0]
            yield (
                (scores, tau, torch.ones(shape, dtype=torch.float64)),
                torch.zeros(shape, dtype=torch.float64),
            )


@exercise(
    "09.5",
    hints=(
        "which number may be subtracted from a cost without changing the mean of (09.23)?",
        "the baseline of each draw is another number: a mean over all draws but this one",
        "the sum over the others is the sum over all less the own cost; then average over draws",
    ),
)
def check_5():
    """Costs less the mean of the others, times scores; equal costs give zero."""
    rng = torch.Generator().manual_seed(5)
    for draws, d in ((2, 1), (5, 3), (20, 4)):
        costs, scores = randn(rng, draws), randn(rng, draws, d)
        total = torch.zeros(d, dtype=torch.float64)
        for i in range(draws):
            others = [costs[j] for j in range(draws) if j != i]
            total = total + (costs[i] - sum(others) / len(others)) * scores[i]
        yield (costs, scores), total / draws
        yield (torch.ones(draws, dtype=torch.float64), scores), torch.zeros(d, dtype=torch.float64)
