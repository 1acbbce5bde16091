"""What the study of a receding horizon counts in longer texts."""

import pytest
import torch

from minildm.studies.ch13_horizon import long_tales, sentences_and_events
from minildm.text import tales
from minildm.text.tokenizers import WordTokenizer
from minildm.tokens import BOS, EOS, PAD

TOKENIZER = WordTokenizer(tales.vocabulary())
TALE = (
    "once at the castle there lived shy ada the fox and bold ben the owl . ada found a red ball . "
    "ada gave ben the red ball . ben became happy ."
)


def counted(text: str) -> dict[str, float]:
    return sentences_and_events(TOKENIZER, torch.tensor([[BOS, *TOKENIZER.encode(text)]]))


def test_true_events_and_good_sentences_are_counted():
    found = counted(TALE)
    assert found["good_sentences"] == 1 and found["events"] == 3
    wrong = counted(TALE.replace("ben became happy", "ada lost the red ball"))
    assert wrong["good_sentences"] == 1 and wrong["consistent_events"] == pytest.approx(2 / 3)
    broken = counted(TALE.replace("ben became happy", "ben became the"))
    assert broken["good_sentences"] == 3 / 4


def test_a_sentence_that_is_cut_off_at_the_end_does_not_count():
    assert counted(TALE + " ben went to") == counted(TALE)


def test_long_tales_are_whole_rows_of_true_tales():
    rows = long_tales(TOKENIZER, 3, 512)
    assert rows.shape == (3, 512) and (rows[:, 0] == BOS).all()
    assert not ((rows == PAD) | (rows == EOS)).any()
    found = sentences_and_events(TOKENIZER, rows)
    assert found["good_sentences"] == 1 and found["consistent_events"] == 1 and found["events"] > 50
