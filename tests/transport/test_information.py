"""Information as time, and the likelihood of tokens along a path of noise, against exact posteriors."""

import math
from itertools import pairwise

import pytest
import torch

from minildm.transport.codebook import Codebook
from minildm.transport.information import (
    InformationTime,
    information_rate,
    mutual_information,
    signal_to_noise,
)

TOKENS = 4
GRID = torch.linspace(0, 1, 81)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def book() -> Codebook:
    return Codebook(2 * torch.randn(TOKENS, 3, generator=rng()), torch.full((3,), 0.1))


@pytest.fixture(scope="module")
def joint() -> torch.Tensor:
    """log p(w_1, w_2) of two tokens that depend on each other."""
    return (2 * torch.randn(TOKENS, TOKENS, generator=rng(3))).flatten().log_softmax(0).view(4, 4)


def posteriors(book: Codebook, joint: torch.Tensor, z: torch.Tensor, t: torch.Tensor):
    """log p(w_i | z_1, z_2) of both positions, (b, 2, tokens), for times t (2,)."""
    evidence = book.evidence(z, t.expand(len(z), 2))
    both = joint + evidence[:, 0, :, None] + evidence[:, 1, None]
    both = both - both.logsumexp((1, 2), keepdim=True)
    return torch.stack((both.logsumexp(2), both.logsumexp(1)), 1), both


def nats(book: Codebook, joint: torch.Tensor, path: list[tuple[float, float]], used=None) -> float:
    """-log p of pairs along a path of the times of both positions, by the trapezoidal rule."""
    count = 4000
    drawn = torch.multinomial(joint.exp().flatten(), count, replacement=True, generator=rng(5))
    tokens = torch.stack((drawn // TOKENS, drawn % TOKENS), 1)
    used = joint if used is None else used
    total = torch.zeros(count)
    noise = torch.randn(2, count, 2, 3, generator=rng(7))
    z1 = book.means[tokens] + book.variances.sqrt() * noise[0]
    rates = []
    for times in path:
        t = torch.tensor(times)
        z = t[:, None] * z1 + (1 - t[:, None]) * noise[1]
        found, _ = posteriors(book, used, z, t)
        rates.append(information_rate(book, found, tokens, torch.ones(count, 2, 3)))
    for (a, b), (first, last) in zip(pairwise(rates), pairwise(path)):
        rise = signal_to_noise(book, torch.tensor(last)) - signal_to_noise(
            book, torch.tensor(first)
        )
        total += ((a + b) / 2 * rise[:, 0]).sum(1)
    _, both = posteriors(book, used, z1, torch.ones(2))
    return float((total - both.flatten(1).gather(1, drawn[:, None])[:, 0]).mean())


DIAGONAL = [(float(t), float(t)) for t in GRID]
ONE_BY_ONE = [(float(t), 0.0) for t in GRID] + [(1.0, float(t)) for t in GRID[1:]]


@pytest.mark.parametrize("path", [DIAGONAL, ONE_BY_ONE], ids=["at once", "one by one"])
def test_the_likelihood_along_any_path_is_the_entropy(book, joint, path):
    entropy = float(-(joint.exp() * joint).sum())
    assert nats(book, joint, path) == pytest.approx(entropy, abs=0.04)


def test_a_wrong_denoiser_pays_its_divergence(book, joint):
    """A denoiser that takes two tokens for independent pays their mutual information."""
    marginals = joint.logsumexp(1)[:, None] + joint.logsumexp(0)
    extra = float((joint.exp() * (joint - marginals)).sum())
    assert extra > 0.2
    entropy = float(-(joint.exp() * joint).sum())
    assert nats(book, joint, DIAGONAL, marginals) == pytest.approx(entropy + extra, abs=0.05)


def test_information_grows_from_nothing_to_the_entropy(book):
    log_probs = torch.tensor([0.5, 0.25, 0.2, 0.05]).log()
    wide = Codebook(20 * book.means, book.variances)
    found = mutual_information(wide, log_probs, torch.tensor([0.0, 0.3, 0.9]))
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert found[2] == pytest.approx(float(-(log_probs.exp() * log_probs).sum()), abs=0.03)


def test_equal_steps_tell_equally_much(book):
    log_probs = torch.full((TOKENS,), math.log(1 / TOKENS))
    time = InformationTime(book, log_probs, uniform=1e-3)
    known = mutual_information(book, log_probs, time.warp(torch.linspace(0, 0.9, 10)))
    assert known.diff().std() < 0.05 * known.diff().mean()


def test_density_is_the_slope_of_the_inverse(book):
    time = InformationTime(book, torch.full((TOKENS,), math.log(1 / TOKENS)))
    v = torch.linspace(0.01, 0.99, 50)
    t = time.warp(v)
    assert time.warp(torch.tensor([0.0, 1.0])).tolist() == [0.0, 1.0]
    assert (t.diff() > 0).all()
    slope = 2e-4 / (time.warp(v + 1e-4) - time.warp(v - 1e-4))
    assert (time.density(t) / slope).median() == pytest.approx(1, rel=0.02)
