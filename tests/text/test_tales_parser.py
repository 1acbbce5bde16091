"""The reader of tales accepts the language, finds planted errors, and never raises."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.text import tales
from minildm.text.tales_parser import ERROR_TYPES, log_prob, parse

from .planting import plant

WORDS = tales.vocabulary()


def test_valid_tales_are_accepted():
    rng = random.Random(0)
    for n in range(10_000):
        events = n % 6 + 1
        text = tales.sample(rng, events).text
        report = parse(text)
        assert report.grammatical and report.consistent and report.events == events, text


@pytest.mark.parametrize("type", ERROR_TYPES)
def test_planted_errors_are_found_first_with_type_and_position(type):
    rng = random.Random(type)
    found = 0
    for _ in range(500):
        planted = plant(rng, type)
        errors = parse(planted.text).errors
        found += bool(errors) and errors[0][:2] == (planted.position, type)
    assert found >= 495


def test_the_first_error_is_in_reading_order():
    text = (
        "once at the barn there lived shy ada the fox and bold ben the owl . ada the owl found a red hat . "
        "ben lost the red hat . in the end ben was at the mill ."
    )
    report = parse(text)
    assert [(e.position, e.type) for e in report.errors] == [
        (18, "species"),
        (24, "holder"),
        (37, "ending"),
    ]
    assert report.grammatical and not report.consistent


def test_one_mistake_is_reported_once():
    text = (
        "once at the barn there lived shy ada the fox and bold ben the owl . ada became sad . "
        'ada said " i feel happy " . ada said " i feel sad " . in the end ada was sad .'
    )
    assert [(e.position, e.type) for e in parse(text).errors] == [(25, "mood")]


@given(st.lists(st.sampled_from(WORDS), max_size=120))
@settings(max_examples=300, deadline=None)
def test_word_salad_never_raises(words):
    text = " ".join(words)
    report = parse(text)
    assert all(
        0 <= e.position <= max(len(words) - 1, 0) and e.type in ERROR_TYPES for e in report.errors
    )
    assert report.consistent == math.isfinite(log_prob(text))


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_never_raises(text):
    assert not parse(text).consistent
    assert log_prob(text) == -math.inf


@given(st.randoms(use_true_random=False), st.integers(1, 8), st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_shuffled_sentences_never_raise(rng, events, times):
    sentences = [
        s + " ." for _ in range(2) for s in tales.sample(rng, events).text.split(" .")[:-1]
    ]
    rng.shuffle(sentences)
    text = " ".join(sentences[:times])
    assert parse(text).consistent == math.isfinite(log_prob(text))


def test_consistent_if_and_only_if_the_distribution_gives_mass():
    rng, consistent = random.Random(1), 0
    for _ in range(4000):
        words = tales.sample(rng, rng.randrange(1, 7)).text.split()
        at = rng.randrange(len(words))
        same_class = next(
            (c for c in vars(tales.LEXICON).values() if isinstance(c, tuple) and words[at] in c),
            WORDS,
        )
        words[at] = rng.choice(same_class if rng.random() < 0.7 else WORDS)
        text = " ".join(words)
        report = parse(text)
        assert report.consistent == math.isfinite(log_prob(text)), text
        consistent += report.consistent
    assert 0 < consistent < 4000  # a change of a trait, for one, makes another valid tale


def test_an_empty_text_is_not_grammatical():
    assert [(e.position, e.type) for e in parse("").errors] == [(0, "grammar")]
