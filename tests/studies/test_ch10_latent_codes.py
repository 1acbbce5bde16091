"""What codes cost and carry, what lies between two texts, and errors in two directions."""

import pytest
import torch

from minildm.models.vae import divergence
from minildm.studies import ch10_latent_codes
from minildm.studies.ch10_word_field import WordDistribution, word_distribution
from tests.models.small import rng
from tests.studies.test_ch10_word_field import small


def test_what_codes_carry():
    """Identical words: no information; words far apart: all there is. The rate is that of the posteriors."""
    model, counts = small(), torch.tensor([0, 3, 1, 5, 0, 8, 1, 1, 4, 0, 2, 6])
    found = word_distribution(model, counts)
    probs = found.log_weights.exp()
    mean, std = model.posteriors(found.tokens[:, None])
    entropy = float(-(probs @ found.log_weights))
    for spread, information in ((0.0, 0.0), (1e3, entropy)):
        moved = WordDistribution(
            found.log_weights, spread * found.means, found.variances, found.tokens
        )
        seen = ch10_latent_codes.codes(model, moved, rng(), draws=4)
        assert seen.information == pytest.approx(
            information, abs=1e-6
        ) and seen.entropy == pytest.approx(entropy)
        assert seen.collapsed == (spread == 0)
        assert seen.nats == pytest.approx(
            float(probs @ divergence(mean, std)[:, 0].double().sum(-1)), rel=1e-5
        )
    assert seen.active == int((seen.channels > 0.1).sum())


def test_the_line_between_two_texts_begins_and_ends_at_them():
    model, (one, other) = small(), torch.randint(4, 12, (2, 6), generator=rng(7))
    words, sure = ch10_latent_codes.decode_between(model, one, other, torch.tensor([0.0, 0.5, 1.0]))
    ends, chance = model.decode_tokens(model.encode(torch.stack((one, other))))
    assert torch.equal(words[[0, 2]], ends) and torch.allclose(sure[[0, 2]], chance)
    drawn, _ = ch10_latent_codes.decode_between(model, one, other, torch.tensor([0.0]), rng(8))
    assert torch.equal(
        drawn[0], model.decode_tokens(model.encode(torch.stack((one, other)), rng(8)))[0][0]
    )


def test_words_of_neither_text():
    one, other = torch.tensor([1, 2, 3, 4]), torch.tensor([1, 5, 6, 7])
    words = torch.tensor([[1, 2, 6, 4], [9, 9, 3, 7], [1, 9, 9, 9]])
    assert ch10_latent_codes.fraction_of_neither(one, other, words).tolist() == pytest.approx(
        [0, 1 / 3, 1]
    )
    assert ch10_latent_codes.fraction_of_neither(one, one, words).tolist() == [0, 0, 0]


def test_a_perturbation_all_the_way_is_the_other_word():
    """At fraction 1 the codes are those of nearest words: what is read then is what their texts read as."""
    model, counts = small(), torch.ones(12, dtype=torch.long)
    found, tokens = word_distribution(model, counts), torch.randint(12, (5, 6), generator=rng(9))
    nearest = torch.cdist(found.means, found.means).fill_diagonal_(float("inf")).argmin(1)
    read = model.decode_tokens(model.encode(nearest[tokens]))[0]
    assert ch10_latent_codes.perturbed_accuracy(model, found, tokens, 1.0) == pytest.approx(
        float((read == tokens).float().mean()), abs=0.04
    )
    still = float((model.decode_tokens(model.encode(tokens))[0] == tokens).float().mean())
    for turn in (None, rng()):
        assert ch10_latent_codes.perturbed_accuracy(
            model, found, tokens, 0.0, turn
        ) == pytest.approx(still)
