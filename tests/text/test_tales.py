"""The distribution of tales: exact, unambiguous, of known entropy, split without overlap."""

import math
import random
import statistics
from dataclasses import replace

import pytest

from minildm.text import tales
from minildm.text.tales import Lexicon, narrate, sample, split, vocabulary
from minildm.text.tales_entropy import entropy, outcomes
from minildm.text.tales_parser import log_prob

SMALL = Lexicon(
    name=("ada", "ben"),
    species=("fox",),
    trait=("shy",),
    place=("barn", "mill"),
    color=("red", "blue"),
    thing=("hat", "cup"),
    mood=("happy", "sad"),
    cast=(2,),
)
LEXICONS = {
    "small": SMALL,
    "three": replace(
        SMALL, name=("ada", "ben", "cleo"), species=("fox", "owl"), color=("red",), cast=(2, 3)
    ),
    "one hand": replace(SMALL, thing=("hat",), place=("barn", "mill", "inn"), hands=1),
    "tiny": replace(SMALL, thing=("hat",), color=("red",), mood=("happy",)),
}


def distribution(events: int, lexicon: Lexicon) -> dict[str, float]:
    """Every tale with its probability, by trying all decisions; fails if two paths spell one text."""
    table: dict[str, float] = {}
    for sentences, nats in outcomes(lambda choose: narrate(choose, events, lexicon)):
        text = " ".join(sentences)
        assert text not in table
        table[text] = math.exp(-nats)
    return table


@pytest.mark.parametrize(
    "events, name", [(1, "small"), (1, "three"), (1, "one hand"), (1, "tiny"), (2, "tiny")]
)
def test_the_enumerated_distribution_sums_to_one_and_has_the_entropy(events, name):
    table = distribution(events, LEXICONS[name])
    assert math.fsum(table.values()) == pytest.approx(1, abs=1e-9)
    surprise = -math.fsum(p * math.log(p) for p in table.values())
    assert surprise == pytest.approx(entropy(events, LEXICONS[name]), abs=1e-9)


@pytest.mark.parametrize("name", LEXICONS)
def test_enumerated_tales_are_read_back_with_their_probability(name):
    for text, p in random.Random(0).sample(sorted(distribution(1, LEXICONS[name]).items()), 200):
        assert log_prob(text, LEXICONS[name]) == pytest.approx(math.log(p), abs=1e-9)


@pytest.fixture(scope="module")
def ten_thousand():
    rng = random.Random(0)
    return [sample(rng, 3) for _ in range(10_000)]


def test_mean_surprise_is_the_entropy(ten_thousand):
    nats = [-tale.log_prob for tale in ten_thousand]
    standard_error = statistics.stdev(nats) / math.sqrt(len(nats))
    assert abs(statistics.fmean(nats) - entropy(3)) < 3 * standard_error


def test_ten_thousand_tales_score_as_drawn(ten_thousand):
    assert all(abs(log_prob(text) - drawn) < 1e-9 for text, drawn in ten_thousand)


def test_entropy_of_longer_tales_agrees_with_a_sample():
    rng = random.Random(1)
    nats = [-sample(rng, 6).log_prob for _ in range(1000)]
    assert abs(statistics.fmean(nats) - entropy(6)) < 3 * statistics.stdev(nats) / math.sqrt(
        len(nats)
    )


@pytest.mark.parametrize("events", range(1, 61))
def test_log_prob_of_a_text_is_that_of_its_draw(events):
    text, drawn = sample(random.Random(events), events)
    assert log_prob(text) == pytest.approx(drawn, abs=1e-9)


def test_word_classes_are_disjoint():
    words = vocabulary()
    assert len(words) == len(set(words))
    assert 250 <= len(words) <= 400


def test_words_of_tales_are_the_vocabulary():
    rng, words = random.Random(3), set()
    for _ in range(5000):
        words |= set(sample(rng, 5).text.split())
    assert words == set(vocabulary())


def test_tales_of_three_events_fit_62_words():
    assert max(len(text.split()) for text in split("train", 5000)) <= 62
    openings = (
        max(len(sample(random.Random(i), 3).text.split(" . ")[0].split()) for i in range(2000)) + 1
    )
    longest_event = max(
        len(t.split())
        for key, group in tales.TEMPLATES.items()
        for t in group
        if key != "opening" and not key.startswith("end_")
    )
    longest_end = max(
        len(t.split())
        for key, group in tales.TEMPLATES.items()
        for t in group
        if key.startswith("end_")
    )
    assert openings + 3 * longest_event + longest_end <= 62


def test_splits_are_deterministic_and_disjoint():
    parts = {name: split(name, 300, events=1) for name in ("train", "valid", "test")}
    assert parts == {name: split(name, 300, events=1) for name in parts}
    assert parts["train"] != split("train", 300, events=1, seed=1)
    train, valid, test = map(set, parts.values())
    assert not train & valid and not train & test and not valid & test


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="no split 'dev'"):
        split("dev", 1)
    with pytest.raises(ValueError, match="at least 1 event, not 0"):
        sample(random.Random(0), 0)
