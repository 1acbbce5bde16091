"""Checks of chapter 13: a mean of laws, what a latent says of its word, clocks, a step that renews
noise, a wish.
"""

import torch

from ..control.linear_quadratic import pinned_law, soft_law
from ..transport.codebook import Codebook
from ..transport.diffusion import straight_step
from .rules import Counted
from .verdict import exercise


def randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    """Normal numbers in float64."""
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@exercise(
    "13.1",
    hints=(
        "how does the soft law depend on its end: what happens to it when the end is doubled and z stays?",
        "the law is affine in its end, and the probabilities of a row sum to one",
        "so the mean may be taken before the law is applied: one end for each row of the batch, then one call",
    ),
)
def check_1():
    """One end is its own law; any number of ends otherwise, by summing the laws one by one."""
    rng = torch.Generator().manual_seed(1)
    for batch, k, d in ((1, 1, 2), (4, 3, 2), (5, 7, 3)):
        ends, z, p = randn(rng, k, d), randn(rng, batch, d), randn(rng, batch, k).softmax(-1)
        t, c = float(torch.rand((), generator=rng)), 1 + 20 * float(torch.rand((), generator=rng))
        laws = torch.stack([soft_law(end.expand_as(z), z, t, c) for end in ends])
        yield (ends, p, z, t, c), torch.einsum("bk,kbd->bd", p, laws)


@exercise(
    "13.2",
    hints=(
        "what does Bayes' rule multiply, and which of its factors does this position give by itself?",
        "(13.7) has two terms; both are divided by q, which differs from channel to channel and from row to row",
        "logarithm of the prior plus the evidence of each word, then a softmax over words; at t = 0 nothing is divided by t",
    ),
)
def check_2():
    """The prior at t = 0; everywhere else densities of Gaussians, multiplied out."""
    rng = torch.Generator().manual_seed(2)
    for batch, words, d in ((1, 2, 1), (4, 5, 3), (6, 9, 2)):
        z, means = randn(rng, batch, d), randn(rng, words, d)
        prior, variances = randn(rng, words).softmax(0), 0.05 + randn(rng, d).square()
        yield (
            (z, torch.zeros(batch, dtype=torch.float64), prior, means, variances),
            prior.expand(batch, -1),
        )
        t = torch.rand(batch, generator=rng, dtype=torch.float64)
        q = t[:, None] ** 2 * variances + (1 - t[:, None]) ** 2
        normal = torch.distributions.Normal(t[:, None, None] * means, q[:, None].sqrt())
        joint = prior * normal.log_prob(z[:, None]).sum(-1).exp()
        yield (z, t, prior, means, variances), joint / joint.sum(1, keepdim=True)


@exercise(
    "13.3",
    hints=(
        "which positions have a rank, and what are the ranks of the first and of the last of them?",
        "count the movers only; the rank is a fraction of their number less one, and one mover alone has rank 0",
        "ranks, then (13.13) with its clip, and last of all the known positions are put to 1",
    ),
)
def check_3():
    """All together at lag 0; one mover alone; by hand with known positions."""
    nobody = torch.zeros(5, dtype=torch.bool)
    yield (0.3, 0.0, nobody), torch.full((5,), 0.3, dtype=torch.float64)
    yield (0.0, 4.0, nobody), torch.zeros(5, dtype=torch.float64)
    yield (1.0, 4.0, nobody), torch.ones(5, dtype=torch.float64)
    yield (0.5, 2.0, nobody), torch.tensor([1.0, 1.0, 0.5, 0.0, 0.0], dtype=torch.float64)
    yield (
        (0.5, 2.0, torch.tensor([1, 0, 1, 0, 0]).bool()),
        torch.tensor([1.0, 1.0, 1.0, 0.5, 0.0], dtype=torch.float64),
    )
    yield (
        (0.2, 1.5, torch.tensor([1, 1, 0, 1]).bool()),
        torch.tensor([1.0, 1.0, 0.5, 1.0], dtype=torch.float64),
    )


@exercise(
    "13.4",
    hints=(
        "a velocity on a straight path says where the path begins and where it ends: what are the two?",
        "put the two ends together at the time s; then part of the old noise gives way to fresh noise of the same variance",
        "z_1 = z + (1 - t) u and z_0 = z - t u; with both in hand, (13.15) has nothing unknown left",
    ),
)
def check_4():
    """Euler's step without renewal, whatever the noise; the package's step, given the noise that it
    draws.
    """
    rng = torch.Generator().manual_seed(4)
    for shape in ((3,), (4, 2)):
        for _ in range(3):
            z, u, xi = randn(rng, *shape), randn(rng, *shape), randn(rng, *shape)
            t, s = (
                torch.rand(2, generator=rng, dtype=torch.float64).mul(0.98).add(0.01).sort().values
            )
            yield (z, u, t, s, 0.0, xi), z + (s - t) * u
            for share in (0.4, 1.0):
                drawn = randn(torch.Generator().manual_seed(9), *shape)
                wanted = straight_step(share)(
                    lambda z, t, u=u: u, z, t, s, torch.Generator().manual_seed(9)
                )
                yield (z, u, t, s, share, drawn), wanted


def log_chance(chances: torch.Tensor) -> Counted:
    """log P(wish | z) as a function of log p(w | z), for P(wish | w) = `chances` (words,); it may
    be called once.
    """
    return Counted(
        lambda log_p: (log_p + chances.log()).logsumexp(-1), 1, f"a wish over {len(chances)} words"
    )


@exercise(
    "13.5",
    hints=(
        "which function of z is the wish, when the log-probabilities that it takes are themselves functions of z?",
        "the mean end without the wish is (13.8); the wish moves it along one gradient, by (13.19) with a = t and b = 1 - t",
        "torch can give that gradient from one call of the wish; what you then have is an end, and a velocity is asked for",
    ),
)
def check_5():
    """The end of the posterior that knows the wish, from words reweighted by their chances to
    fulfil it.
    """
    rng = torch.Generator().manual_seed(5)
    for words, d in ((2, 1), (4, 2), (7, 3)):
        for sharp in (True, True, False):
            book = Codebook(randn(rng, words, d), 0.05 + randn(rng, d).square())
            z, t = randn(rng, d), 0.05 + 0.9 * float(torch.rand((), generator=rng))
            chances = torch.rand(words, generator=rng, dtype=torch.float64)
            if sharp:
                chances = (chances >= chances.median()).double()
            now = torch.tensor(t, dtype=torch.float64)
            p = (book.evidence(z, now) + chances.log()).softmax(-1)
            yield (
                (z, t, book.means, book.variances, log_chance(chances)),
                pinned_law(book.endpoint(p, z, now), z, t),
            )
