"""Planted errors: every one contradicts its tale, committed words never leave, and runs with and without share their noise."""

import random

import pytest
import torch

from minildm.models.base import LanguageModel
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.studies.ch09_planted_errors import (
    CLASSES,
    Outcomes,
    Plants,
    binned_means,
    finish,
    plant_and_finish,
    plants,
    prefix_length,
)
from minildm.text.tales import LEXICON, vocabulary
from minildm.text.tales_parser import parse
from minildm.text.tokenizers import WordTokenizer
from tests.models.small import ldlm, texts

WORDS = WordTokenizer(vocabulary())


@pytest.fixture(scope="module")
def errors() -> Plants:
    return plants(WORDS, 40, 64, random.Random(0))


def gpt(size: int = WORDS.size, length: int = 64) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(size, length, d_model=16, n_heads=2, n_layers=1)).eval()


def masked(size: int = WORDS.size, length: int = 64) -> MaskedDiffusion:
    torch.manual_seed(0)
    return MaskedDiffusion(
        MaskedDiffusionConfig(size, length, d_model=16, n_heads=2, n_layers=1)
    ).eval()


def test_each_error_is_one_word_of_the_class_and_contradicts_its_tale(errors):
    assert ((errors.damaged != errors.tokens).sum(1) == 1).all() and (
        errors.word != errors.original
    ).all()
    for right, wrong, at, word_class in zip(
        errors.tokens, errors.damaged, errors.position, errors.word_class
    ):
        assert (
            parse(WORDS.decode(right.tolist())).consistent
            and not parse(WORDS.decode(wrong.tolist())).consistent
        )
        words = getattr(LEXICON, word_class)
        assert WORDS.decode([1, right[at], 2]) in words and WORDS.decode([1, wrong[at], 2]) in words
    assert set(errors.word_class) == set(CLASSES)


def test_errors_may_be_asked_for_in_a_prefix():
    early = plants(WORDS, 30, 64, random.Random(1), before=12)
    assert early.position.max() == 11 and early.position.min() >= 1


@pytest.mark.parametrize("model", [gpt(), masked()], ids=["gpt", "masked"])
def test_a_committed_word_is_never_revised(model, errors):
    """Recovery is 0 by construction: whatever the weights, the planted word stands in every finished text."""
    t = 0.97  # GPT's prefix then holds every planted word
    outcome = plant_and_finish(model, WORDS, errors, t, 8, 0)
    assert (
        not outcome.replaced.any() and not outcome.restored.any() and not outcome.consistent.any()
    )


def test_what_is_noticed_in_the_prefix_cannot_be_corrected_by_what_follows(errors):
    """GPT's tale stays wrong where a contradicting sentence is over before the prefix ends, whatever is written behind it."""
    for t in (0.6, 0.75):
        rows = finish(gpt(), errors.damaged, errors.position, t, 4, 0)
        settled = errors.noticed < prefix_length(t, 64)
        assert settled.any() and not any(
            parse(WORDS.decode(row.tolist())).consistent for row in rows[settled]
        )
        for row, at in zip(rows[settled], errors.noticed[settled]):
            assert parse(WORDS.decode(row.tolist())).errors[0].position + 1 <= at


def test_gpt_and_masked_keep_what_is_given_and_write_the_rest(errors):
    for model in (gpt(), masked()):
        rows = finish(model, errors.tokens, errors.position, 0.3, 4, 0)
        assert torch.equal(
            rows.gather(1, errors.position[:, None])[errors.position < 20],
            errors.original[:, None][errors.position < 20],
        )
        assert (rows != errors.tokens).float().mean() > 0.4
    assert torch.equal(
        finish(gpt(), errors.tokens, errors.position, 0.3, 4, 0)[:, : prefix_length(0.3, 64)],
        errors.tokens[:, :20],
    )


class Deaf(MaskedDiffusion):
    """A masked model that does not look at the words around."""

    def embed(self, tokens):
        return super().embed(torch.zeros_like(tokens))


def test_without_a_difference_the_two_runs_are_one(errors):
    """Runs with and without the error share their noise, so a model that does not listen writes the same words elsewhere."""
    torch.manual_seed(0)
    deaf = Deaf(MaskedDiffusionConfig(WORDS.size, 64, d_model=16, n_heads=2, n_layers=1)).eval()
    outcome = plant_and_finish(deaf, WORDS, errors, 0.4, 6, 3)
    assert (outcome.diverged == 0).all() and (outcome.rewritten > 0.4).all()
    same = Plants(
        errors.tokens, errors.position, errors.original, errors.word_class, errors.noticed
    )
    for model in (gpt(), masked()):
        assert (plant_and_finish(model, WORDS, same, 0.4, 6, 3).diverged == 0).all()


@torch.no_grad()
def test_latents_go_on_from_the_noised_text():
    """At t = 1 the finished text is what encoder and decoder make of it; at t = 0 nothing of the text is left."""
    model, tokens = ldlm().eval(), texts()
    torch.nn.init.normal_(model.token_decoder.out_proj.weight)
    position = torch.ones(len(tokens), dtype=torch.long)
    read = model.decode_tokens(model.encode(model.hidden(tokens)), tokens.shape[1])[0]
    assert torch.equal(finish(model, tokens, position, 1.0, 4, 0), read)
    assert torch.equal(*(finish(model, x, position, 0.0, 4, 1) for x in (tokens, tokens.flip(0))))


def test_an_unknown_model_is_refused():
    with pytest.raises(NotImplementedError, match="LanguageModel"):
        finish(LanguageModel(), texts(), torch.ones(6).long(), 0.5, 4, 0)


def test_means_by_position_and_time():
    def outcome(positions, replaced):
        flags = torch.tensor(replaced)
        return Outcomes(
            torch.tensor(positions), flags, flags, flags, flags, flags.long(), flags.float()
        )

    table = binned_means(
        [outcome([1, 5, 6], [True, False, True]), outcome([2, 3], [False, True])],
        lambda o: o.replaced,
        [0, 4, 8],
    )
    assert table == [[1.0, 0.5], [0.5, None]]


def test_the_prefix_of_a_time():
    assert [prefix_length(t, 64) for t in (0.0, 0.01, 0.5, 1.0)] == [1, 1, 32, 64]
