"""The boxed equations of chapter 00, both sides evaluated."""

import math
from collections import defaultdict

import torch

from minildm.text.tales import Lexicon, narrate
from minildm.text.tales_entropy import entropy, outcomes
from minildm.transport.paths import interpolate
from minildm.transport.schedules import Linear, Tangent

SMALL = Lexicon(
    name=("ada", "ben"),
    species=("fox", "owl"),
    trait=("shy",),
    place=("barn", "lake"),
    color=("red", "blue"),
    thing=("ball",),
    mood=("sad",),
    cast=(2,),
    hands=1,
)


def distribution() -> dict[str, float]:
    """All tales of one event in a small language, each with the probability of its decisions."""
    mass: dict[str, float] = defaultdict(float)
    for sentences, nats in outcomes(lambda choose: narrate(choose, 1, SMALL)):
        mass[" ".join(sentences)] += math.exp(-nats)
    return mass


def test_log_probability_is_minus_the_sum_of_log_counts():
    """(00.2): each text has one sequence of decisions, so the masses of texts are those of decisions and add up to one."""
    examples = [
        " ".join(sentences) for sentences, _ in outcomes(lambda choose: narrate(choose, 1, SMALL))
    ]
    assert len(examples) == len(set(examples))
    assert math.isclose(math.fsum(distribution().values()), 1, abs_tol=1e-12)


def test_cross_entropy_is_entropy_plus_divergence():
    """(00.4): by enumeration, for a wrong distribution q over the same tales."""
    p = torch.tensor(list(distribution().values()), dtype=torch.float64)
    q = (
        torch.randn(len(p), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ).softmax(0)
    cross, divergence = -(p * q.log()).sum(), (p * (p / q).log()).sum()
    assert math.isclose(float(cross), entropy(1, SMALL) + float(divergence), rel_tol=1e-12)
    assert divergence > 0


def test_the_mean_of_single_perplexities_may_lie_on_either_side_of_that_of_the_corpus():
    """(00.5): never below it for equal lengths, by Jensen; on both sides for unequal ones, as in the worked solution."""
    nats = torch.rand(1000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths, single = (
        torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0], dtype=torch.float64),
        nats.exp().mean(1),
    )
    assert (single >= nats.mean(1).exp()).all()
    corpus = ((nats * lengths).sum(1) / lengths.sum()).exp()
    assert (single > corpus).any() and (single < corpus).any()
    assert 2 ** (10 / 20) * 8 ** (10 / 20) < (2 + 8) / 2 < 2 ** (10 / 40) * 8 ** (30 / 40)


def test_path_goes_from_noise_to_data():
    """(00.7): z_t = a z_1 + b z_0, with noise at t = 0 and data at t = 1."""
    z1, z0 = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    for schedule in (Linear(), Tangent(3.0)):
        for t, end in ((0.0, z0), (1.0, z1)):
            assert torch.allclose(
                interpolate(schedule, z1, z0, torch.full((3,), t)), end, atol=1e-6
            )
        t = torch.tensor([0.2, 0.5, 0.8])
        by_hand = torch.stack([schedule.a(s) * x + schedule.b(s) * n for s, x, n in zip(t, z1, z0)])
        assert torch.allclose(interpolate(schedule, z1, z0, t), by_hand)
