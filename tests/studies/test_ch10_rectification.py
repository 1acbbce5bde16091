"""Rectification: the law of a word's latent, its field, and walks to it."""

import math

import pytest
import torch

from minildm.control.bridges import Mixture
from minildm.errors import UserError
from minildm.studies import ch10_rectification as r
from minildm.models.vae import VAE, VAEConfig
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.schedules import Linear
from minildm.transport.expansion_rate import mixture_jacobian
from tests.models.small import rng

SIZES = {"vocab_size": 12, "seq_len": 6, "latent": 4, "d_model": 16, "n_heads": 2}


def small(**changes) -> VAE:
    torch.manual_seed(0)
    model = VAE(VAEConfig(**{**SIZES, **changes})).eval().requires_grad_(False)
    model.mean.copy_(torch.randn(4, generator=rng(1)))
    model.square.copy_(model.mean**2 + 2)
    return model


def law(k: int = 4, d: int = 3, spread: float = 2.0, variance: float = 0.04) -> r.WordLaw:
    means = spread * torch.randn(k, d, generator=rng(2), dtype=torch.float64)
    weights = torch.randn(k, generator=rng(3), dtype=torch.float64).log_softmax(0)
    return r.WordLaw(
        weights, means, torch.full((k, d), variance, dtype=torch.float64), torch.arange(k)
    )


def test_the_law_of_a_word_is_that_of_encoded_texts():
    """Shares, means and variances of the latents of texts, in any context, and only of words that occur."""
    model, counts = small(), torch.tensor([0, 3, 1, 5, 0, 8, 1, 1, 4, 0, 2, 6])
    found = r.word_law(model, counts)
    assert found.tokens.tolist() == counts.nonzero()[:, 0].tolist()
    assert torch.allclose(found.log_weights.exp(), counts[counts > 0].double() / counts.sum())
    text = found.tokens[torch.randint(len(found.tokens), (5, 6), generator=rng(4))]
    assert torch.allclose(
        model.encode(text).double(), found.means[torch.searchsorted(found.tokens, text)], atol=1e-6
    )
    draws = torch.stack([model.encode(text, rng(seed)) for seed in range(4000)]).var(0).double()
    assert torch.allclose(draws, found.variances[torch.searchsorted(found.tokens, text)], rtol=0.15)


def test_an_encoder_of_contexts_has_no_law_of_words():
    with pytest.raises(UserError, match="encoder-layers 0"):
        r.word_law(small(n_encoder_layers=1), torch.ones(12, dtype=torch.long))


def test_words_of_one_width_are_the_mixture_of_chapter_08():
    words = law()
    mixture = Mixture(words.log_weights, words.means, words.variances[:, 0])
    z = torch.randn(6, 3, generator=rng(5), dtype=torch.float64)
    for t in torch.tensor([0.0, 0.4, 0.95], dtype=torch.float64):
        assert torch.allclose(
            r.law_velocity(words)(z, t), mixture_velocity(Linear(), mixture)(z, t)
        )
        assert torch.allclose(
            r.law_jacobian(words, z, t), mixture_jacobian(Linear(), mixture, z, t)
        )


def test_a_reader_is_sure_of_means_that_are_far_apart():
    words = law(spread=50.0)
    assert torch.equal(r.read(words, words.means).argmax(1), torch.arange(4))
    same = r.WordLaw(words.log_weights, 0 * words.means, words.variances, words.tokens)
    assert torch.allclose(r.read(same, words.means), words.log_weights.exp().expand(4, -1))


@pytest.mark.parametrize("std", [0.2, 1.0])
def test_walks_to_one_word_end_where_the_product_says(std):
    """A single Gaussian: the exact end is m + s z_0, Euler's m + c_S z_0, so every error is |c_S - s| |z_0|."""
    one = law(1, 2, variance=std**2)
    z0 = torch.randn(8, 2, generator=rng(6), dtype=torch.float64)
    walked = r.walks(one, 8, rng(6), ladder=(4, 32))
    assert torch.allclose(walked.exact, one.means + std * z0, atol=1e-4)
    for steps, end in walked.ends.items():
        c = r.squeezed(torch.tensor(std, dtype=torch.float64), steps)
        assert torch.allclose(end, one.means + c * z0)
        assert walked.errors()[steps] == pytest.approx(
            abs(float(c) - std) * float(z0.square().mean().sqrt()), abs=1e-4
        )
    assert walked.misread(one) == {4: 0.0, 32: 0.0}


def test_errors_by_quantile_are_ordered_and_misreads_are_counted():
    words = law(5, 2, variance=0.0025)
    walked = r.walks(words, 200, rng(), ladder=(2, 8, 128))
    for steps in walked.ends:
        assert (
            walked.errors(0.5)[steps] < walked.errors(0.95)[steps]
            and walked.errors()[steps] <= walked.errors(1.0)[steps]
        )
    assert walked.misread(words)[2] > walked.misread(words)[128]


def test_steps_to_a_tolerance():
    errors = {1: 1.0, 2: 0.5, 4: 0.25, 8: 0.125}  # 1 / steps
    for tolerance in (0.9, 0.3, 0.13):
        assert r.first_within(errors, tolerance) == pytest.approx(1 / tolerance)
    assert r.first_within(errors, 2.0) == 1 and math.isinf(r.first_within(errors, 0.1))
    assert (
        r.first_within({1: 0.1, 2: 0.9, 4: 0.01}, 0.5) > 2
    )  # what is within and leaves again does not count


@pytest.mark.parametrize("std", [0.1, 0.6, 1.0])
def test_a_decided_word_has_a_price(std):
    s = torch.tensor(std, dtype=torch.float64)
    assert float(2000 * (s / r.squeezed(s, 2000)).log()) == pytest.approx(
        float(r.decided(s)), rel=1e-3
    )
    assert torch.equal(r.squeezed(s.expand(3), 7), r.squeezed(s, 7).expand(3))


def test_rank_correlation():
    assert r.spearman([1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 100.0, 1000.0]) == pytest.approx(1)
    assert r.spearman([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, float("-inf")]) == pytest.approx(-1)
    assert r.spearman([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == pytest.approx(0.5)
    assert r.spearman([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 2.0, 2.0]) == pytest.approx(
        2 / 5**0.5
    )  # ties share their mean place
