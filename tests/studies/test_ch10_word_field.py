"""The distribution of a word's latent, its field and its Jacobian."""

import pytest
import torch

from minildm.control.bridges import Mixture
from minildm.errors import UserError
from minildm.models.vae import VAE, VAEConfig
from minildm.studies import ch10_word_field as w
from minildm.transport.expansion_rate import mixture_jacobian
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.schedules import Linear
from tests.models.small import rng

SIZES = {"vocab_size": 12, "seq_len": 6, "latent": 4, "d_model": 16, "n_heads": 2}


def small(**changes) -> VAE:
    torch.manual_seed(0)
    model = VAE(VAEConfig(**{**SIZES, **changes})).eval().requires_grad_(False)
    model.mean.copy_(torch.randn(4, generator=rng(1)))
    model.square.copy_(model.mean**2 + 2)
    return model


def some_words(
    k: int = 4, d: int = 3, spread: float = 2.0, variance: float = 0.04
) -> w.WordDistribution:
    means = spread * torch.randn(k, d, generator=rng(2), dtype=torch.float64)
    weights = torch.randn(k, generator=rng(3), dtype=torch.float64).log_softmax(0)
    return w.WordDistribution(
        weights, means, torch.full((k, d), variance, dtype=torch.float64), torch.arange(k)
    )


def test_the_distribution_of_a_word_is_that_of_encoded_texts():
    """Fractions, means and variances of the latents of texts, in any context, and only of words that occur."""
    model, counts = small(), torch.tensor([0, 3, 1, 5, 0, 8, 1, 1, 4, 0, 2, 6])
    found = w.word_distribution(model, counts)
    assert found.tokens.tolist() == counts.nonzero()[:, 0].tolist()
    assert torch.allclose(found.log_weights.exp(), counts[counts > 0].double() / counts.sum())
    text = found.tokens[torch.randint(len(found.tokens), (5, 6), generator=rng(4))]
    assert torch.allclose(
        model.encode(text).double(), found.means[torch.searchsorted(found.tokens, text)], atol=1e-6
    )
    draws = torch.stack([model.encode(text, rng(seed)) for seed in range(4000)]).var(0).double()
    assert torch.allclose(draws, found.variances[torch.searchsorted(found.tokens, text)], rtol=0.15)


def test_an_encoder_of_contexts_has_no_distribution_of_words():
    with pytest.raises(UserError, match="encoder-layers 0"):
        w.word_distribution(small(n_encoder_layers=1), torch.ones(12, dtype=torch.long))


def test_words_of_one_width_are_the_mixture_of_chapter_08():
    words = some_words()
    mixture = Mixture(words.log_weights, words.means, words.variances[:, 0])
    z = torch.randn(6, 3, generator=rng(5), dtype=torch.float64)
    for t in torch.tensor([0.0, 0.4, 0.95], dtype=torch.float64):
        assert torch.allclose(
            w.word_velocity(words)(z, t), mixture_velocity(Linear(), mixture)(z, t)
        )
        assert torch.allclose(
            w.word_jacobian(words, z, t), mixture_jacobian(Linear(), mixture, z, t)
        )


def test_means_far_apart_are_decoded_with_certainty():
    words = some_words(spread=50.0)
    assert torch.equal(w.responsibilities(words, words.means).argmax(1), torch.arange(4))
    same = w.WordDistribution(words.log_weights, 0 * words.means, words.variances, words.tokens)
    assert torch.allclose(
        w.responsibilities(same, words.means), words.log_weights.exp().expand(4, -1)
    )
