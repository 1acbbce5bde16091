"""Scorecards: tales of the distribution itself score 100%, planted faults are counted, and tables show what was measured."""

import numpy as np
import pytest
import torch

from minildm.evaluation.provenance import provenance
from minildm.evaluation.scorecard import Reference, good_sentences, scorecard, validity
from minildm.models.base import Generation
from minildm.text import tales
from minildm.text.corpora import pad_rows
from minildm.text.tales_parser import log_prob, sentences
from minildm.text.tokenizers import WordTokenizer

WORDS = WordTokenizer(tales.vocabulary())
TEXTS = tales.split("test", 40)


def write(count: int, rng: torch.Generator) -> Generation:
    """A perfect model: tales of the distribution, chosen by the generator."""
    chosen = torch.randint(len(TEXTS), (count,), generator=rng).tolist()
    rows = pad_rows([WORDS.encode(TEXTS[i]) for i in chosen], 90, WORDS)
    return Generation(torch.from_numpy(rows), 7, 0.5)


def test_true_tales_are_valid_and_their_nats_are_exact():
    scores = validity(TEXTS)
    assert scores["grammatical"] == scores["consistent"] == 1
    assert not any(v for k, v in scores.items() if k.startswith("error_"))
    nats, words = sum(map(log_prob, TEXTS)), sum(len(text.split()) for text in TEXTS)
    assert scores["exact_nats_per_token"] == pytest.approx(-nats / words)


def test_good_sentences_are_those_that_a_template_reads():
    first, second = TEXTS[:2]
    said = len(sentences(first.split()))
    assert good_sentences(TEXTS) == 1 and good_sentences(["", ""]) == 0
    assert good_sentences([first, "the the ."]) == pytest.approx(said / (said + 1))
    assert good_sentences([second.replace("the", "the the", 1)]) == pytest.approx(
        1 - 1 / len(sentences(second.split()))
    )


def test_faults_are_counted_by_kind():
    broken = [TEXTS[0].replace("the", "the the", 1), "", TEXTS[1].rsplit(" in the end ", 1)[0]]
    scores = validity([*broken, TEXTS[2]])
    assert scores["grammatical"] == 2 / 4 and scores["consistent"] == 1 / 4
    assert scores["error_grammar"] == 2 / 4 and scores["error_ending"] >= 1 / 4
    assert "exact_nats_per_token" not in validity([""])


def test_rows_means_and_spreads():
    card = scorecard(
        write,
        Reference(WORDS, tales=True),
        count=150,
        seeds=3,
        origin={"model": "exact", "scorer": "exact"},
    )
    assert [row["seed"] for row in card["rows"]] == [0, 1, 2] and all(
        row["scorer"] == "exact" for row in card["rows"]
    )
    entropies = [row["unigram_entropy"] for row in card["rows"]]
    assert card["mean"]["unigram_entropy"] == pytest.approx(np.mean(entropies))
    spread = card["spread"]["unigram_entropy"]
    assert spread == pytest.approx(np.std(entropies, ddof=1)) and spread > 0
    assert card["mean"]["nfe"] == 7 and card["mean"]["latency_s"] == 0.5
    assert card["rows"][0]["tokens_per_s"] == pytest.approx(
        card["rows"][0]["mean_tokens"] * 150 / 1.0
    )  # two parts
    assert "seed" not in card["mean"] and "copied_4" not in card["mean"]


def test_a_single_seed_has_no_spread():
    card = scorecard(write, Reference(WORDS, tales=False), count=3, seeds=1)
    assert set(card["spread"].values()) == {0.0} and "grammatical" not in card["mean"]


def test_provenance_names_versions_and_hardware():
    origin = provenance(torch.device("cpu"))
    assert origin["versions"]["torch"] == torch.__version__ and "CPU" in origin["hardware"]
    assert origin["commit"] is None or origin["commit"]
