"""Checks of chapter 09: an ancestral step, a total correlation, the price of steps, a soft choice's adjoint, a baseline."""

import math

import torch

from ..models.base import MASK
from .verdict import exercise


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard Gaussian numbers in double precision."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def entropy(p: torch.Tensor) -> torch.Tensor:
    """-sum p log p in nats, where 0 log 0 = 0."""
    return -torch.special.xlogy(p, p).sum()


@exercise("09.1", hints=("a mask opens with probability (s - t)/(1 - t), not s; a visible word never changes",))
def check_1():
    """Whether each mask opens, decided one by one; from t = 0 to 1 all do, and nothing happens in no time."""
    rng = torch.Generator().manual_seed(1)
    for shape in ((1, 4), (3, 7), (5, 2)):
        for t, s in ((0.0, 1.0), (0.2, 0.5), (0.9, 0.95), (0.4, 0.4)):
            tokens = torch.randint(3, 9, shape, generator=rng)
            words = torch.randint(4, 9, shape, generator=rng)
            chance = torch.rand(shape, generator=rng, dtype=torch.float64)
            expected = torch.tensor([[word if token == MASK and (1 - t) * u < s - t else token
                                      for token, word, u in zip(*row)]
                                     for row in zip(tokens.tolist(), words.tolist(), chance.tolist())])
            yield (tokens, words, chance, t, s), expected


@exercise("09.2", hints=("the sum of the entropies of all marginals, less the entropy of the whole table; mind 0 log 0",))
def check_2():
    """A product has none, copies cost (m - 1) log N, names without repetition log N/(N - 1); else KL to the product."""
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


@exercise("09.3", hints=("both words fall into one step with probability 1/S; else the second is drawn knowing the first",))
def check_3():
    """For two words the staircase is exact: their mutual information over the number of steps."""
    rng = torch.Generator().manual_seed(3)
    for shape in ((2, 2), (3, 6)):
        pair = randn(rng, *shape).flatten().softmax(0).reshape(shape)
        information = float(entropy(pair.sum(0)) + entropy(pair.sum(1)) - entropy(pair))
        for steps in (1, 2, 7, 100):
            yield (pair, steps), information / steps
    yield (torch.eye(4, dtype=torch.float64) / 4, 8), math.log(4) / 8


@exercise("09.4", hints=("the Jacobian (diag(pi) - pi pi')/tau is symmetric: pi * (v - the mean of v under pi), over tau",))
def check_4():
    """The vector-Jacobian product of softmax(scores / tau), by autograd; it vanishes for a constant v."""
    rng = torch.Generator().manual_seed(4)
    for shape in ((5,), (2, 3), (4, 1, 6)):
        for tau in (0.1, 1.0, 3.0):
            scores, v = randn(rng, *shape), randn(rng, *shape)
            _, pull = torch.func.vjp(lambda x, tau=tau: (x / tau).softmax(-1), scores)
            yield (scores, tau, v), pull(v)[0]
            yield (scores, tau, torch.ones(shape, dtype=torch.float64)), torch.zeros(shape, dtype=torch.float64)


@exercise("09.5", hints=("the baseline of a draw is the mean cost of the others; with its own cost in it, it is biased",))
def check_5():
    """Costs less the mean of the others, times scores; equal costs give zero; two draws give half the difference twice."""
    rng = torch.Generator().manual_seed(5)
    for draws, d in ((2, 1), (5, 3), (20, 4)):
        costs, scores = randn(rng, draws), randn(rng, draws, d)
        total = torch.zeros(d, dtype=torch.float64)
        for i in range(draws):
            others = [costs[j] for j in range(draws) if j != i]
            total = total + (costs[i] - sum(others) / len(others)) * scores[i]
        yield (costs, scores), total / draws
        yield (torch.ones(draws, dtype=torch.float64), scores), torch.zeros(d, dtype=torch.float64)
