"""What a scorecard says to a person: every figure has a name, a unit and a meaning, in lines that fit 100 columns."""

import numpy as np
import pytest

from minildm.evaluation.report import FIGURES, errors, lines
from minildm.evaluation.scorecard import Reference, measure
from minildm.text.tokenizers import BytePairTokenizer, WordTokenizer

from .test_scorecard import WORDS, write

PAIRS = BytePairTokenizer.train(["a fox"], 262)


@pytest.mark.parametrize("tokenizer", [WordTokenizer(["a"]), PAIRS])
def test_lines_fit_100_columns_whatever_the_figures(tokenizer):
    large = dict.fromkeys(FIGURES, 12345.678)
    for line in lines(large, tokenizer, large) + errors({"error_ending": 1.0}):
        assert len(line) <= 100 and "{" not in line and not line.startswith("   ")


def test_figures_have_units_and_spreads():
    shown = lines(
        {"excess": 0.0091736, "nfe": 61.0, "grammatical": 0.5},
        WordTokenizer(["a"]),
        {"grammatical": 0.01},
    )
    assert [line.split("  ")[1] for line in shown] == [
        "grammatical tales",
        "network evaluations",
        "excess over the entropy",
    ]
    assert "50.0% ± 1.0%  follow the grammar of Tales" in shown[0] and " 61  a text" in shown[1]
    assert "0.92%  (loss - entropy) / entropy, of a tale" in shown[2]


def test_tokens_are_words_where_the_vocabulary_has_words():
    assert "a word of held-out texts" in lines({"nats_per_token": 1.0}, WordTokenizer(["a"]))[0]
    assert "a token of held-out texts" in lines({"nats_per_token": 1.0}, PAIRS)[0]


def test_no_figure_for_people_is_left_out():
    row = measure(write, Reference(WORDS, True, np.array([0])), 9, 0)
    aside = {"seed", "count", "mean_tokens", "distinct_1", "distinct_3"}
    assert {name for name in row if not name.startswith("error_")} - aside <= FIGURES.keys()


def test_errors_come_in_the_order_of_their_frequency():
    assert [
        line.split()[1:3]
        for line in errors({"error_grammar": 0.01, "error_place": 0.0, "error_ending": 0.2})
    ] == [["ending", "20.0%"], ["grammar", "1.0%"]]
