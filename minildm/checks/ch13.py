"""Checks of chapter 13: mean control, token posterior, noise levels, noisy step, guidance."""

import torch

from ..control.linear_quadratic import pinned_control, soft_terminal_control
from ..transport.codebook import Codebook
from ..transport.diffusion import straight_step
from .draws import double, rand, randn
from .rules import Counted
from .verdict import exercise


@exercise(
    "13.1",
    hints=(
        "how does the control depend on its end: what if the end is doubled and z stays?",
        "the control is affine in its end, and the probabilities of a row sum to one",
        "so the mean may be taken first: one end for each row of the batch, then one control",
    ),
)
def check_1():
    """The sum of the controls to each end, one by one; one end alone."""
    rng = torch.Generator().manual_seed(1)
    for batch, k, d in ((1, 1, 2), (4, 3, 2), (5, 7, 3)):
        ends, z, p = randn(rng, k, d), randn(rng, batch, d), randn(rng, batch, k).softmax(-1)
        t, c = float(torch.rand((), generator=rng)), 1 + 20 * float(torch.rand((), generator=rng))
        controls = torch.stack([soft_terminal_control(end.expand_as(z), z, t, c) for end in ends])
        yield (ends, p, z, t, c), torch.einsum("bk,kbd->bd", p, controls)


@exercise(
    "13.2",
    hints=(
        "what does Bayes' rule multiply, and which factor does this position give by itself?",
        "(13.7) has two terms; both are divided by q, which depends on channel and row",
        "log prior plus the evidence of each token, then a softmax; at t = 0 do not divide by t",
    ),
)
def check_2():
    """The prior at t = 0; everywhere else densities of Gaussians, multiplied out."""
    rng = torch.Generator().manual_seed(2)
    for batch, tokens, d in ((1, 2, 1), (4, 5, 3), (6, 9, 2)):
        z, means = randn(rng, batch, d), randn(rng, tokens, d)
        prior, variances = randn(rng, tokens).softmax(0), 0.05 + randn(rng, d).square()
        yield (
            (z, torch.zeros(batch, dtype=torch.float64), prior, means, variances),
            prior.expand(batch, -1),
        )
        t = rand(rng, batch)
        q = t[:, None] ** 2 * variances + (1 - t[:, None]) ** 2
        normal = torch.distributions.Normal(t[:, None, None] * means, q[:, None].sqrt())
        joint = prior * normal.log_prob(z[:, None]).sum(-1).exp()
        yield (z, t, prior, means, variances), joint / joint.sum(1, keepdim=True)


@exercise(
    "13.3",
    hints=(
        "which positions have a rank, and what are the ranks of the first and of the last of them?",
        "count positions not observed: the rank is a fraction of their number less one, or 0",
        "ranks, then (13.13) with its clip; at last the observed positions are put to 1",
    ),
)
def check_3():
    """Equal levels at offset 0; one position alone; by hand with observed positions."""
    nobody = torch.zeros(5, dtype=torch.bool)
    yield (0.3, 0.0, nobody), torch.full((5,), 0.3, dtype=torch.float64)
    yield (0.0, 4.0, nobody), torch.zeros(5, dtype=torch.float64)
    yield (1.0, 4.0, nobody), torch.ones(5, dtype=torch.float64)
    yield (0.5, 2.0, nobody), double(1.0, 1.0, 0.5, 0.0, 0.0)
    yield (
        (0.5, 2.0, torch.tensor([1, 0, 1, 0, 0]).bool()),
        double(1.0, 1.0, 1.0, 0.5, 0.0),
    )
    yield (
        (0.2, 1.5, torch.tensor([1, 1, 0, 1]).bool()),
        double(1.0, 1.0, 0.5, 1.0),
    )


@exercise(
    "13.4",
    hints=(
        "a velocity on a straight path fixes where the path begins and ends: what are the two?",
        "combine the two ends at s; then replace part of the noise by fresh noise",
        "z_1 = z + (1 - t) u and z_0 = z - t u; insert both into (13.15)",
    ),
)
def check_4():
    """Euler's step at eta = 0; the package's step, given the noise that it draws."""
    rng = torch.Generator().manual_seed(4)
    for shape in ((3,), (4, 2)):
        for _ in range(3):
            z, u, xi = randn(rng, *shape), randn(rng, *shape), randn(rng, *shape)
            t, s = rand(rng, 2).mul(0.98).add(0.01).sort().values
            yield (z, u, t, s, 0.0, xi), z + (s - t) * u
            for eta in (0.4, 1.0):
                drawn = randn(torch.Generator().manual_seed(9), *shape)
                wanted = straight_step(eta)(
                    lambda z, t, u=u: u, z, t, s, torch.Generator().manual_seed(9)
                )
                yield (z, u, t, s, eta, drawn), wanted


def log_chance(chances: torch.Tensor) -> Counted:
    """log P(target | z) of log p(w | z), for P(target | w) = `chances`, to be evaluated once."""
    return Counted(
        lambda log_p: (log_p + chances.log()).logsumexp(-1),
        1,
        f"a target over {len(chances)} tokens",
    )


@exercise(
    "13.5",
    hints=(
        "the target takes log-probabilities, which are functions of z: what is it as one of z?",
        "the mean end is (13.8); by (13.19) it moves along one gradient, with a = t and b = 1 - t",
        "take that gradient from one evaluation of the target; then turn the end into a velocity",
    ),
)
def check_5():
    """The mean end given the target, from tokens reweighted by their chances to meet it."""
    rng = torch.Generator().manual_seed(5)
    for tokens, d in ((2, 1), (4, 2), (7, 3)):
        for sharp in (True, True, False):
            book = Codebook(randn(rng, tokens, d), 0.05 + randn(rng, d).square())
            z, t = randn(rng, d), 0.05 + 0.9 * float(torch.rand((), generator=rng))
            chances = rand(rng, tokens)
            if sharp:
                chances = (chances >= chances.median()).double()
            now = torch.tensor(t, dtype=torch.float64)
            p = (book.evidence(z, now) + chances.log()).softmax(-1)
            yield (
                (z, t, book.means, book.variances, log_chance(chances)),
                pinned_control(book.endpoint(p, z, now), z, t),
            )
