"""Words as they are typed: case and marks are adapted, what a vocabulary lacks is answered with what it has."""

import pytest

from minildm.errors import UserError
from minildm.text import tales
from minildm.text.nearest import BEGINNINGS, legal, nearest
from minildm.text.tokenizers import BytePairTokenizer, WordTokenizer

TALES = WordTokenizer(tales.vocabulary())


@pytest.mark.parametrize(
    "typed, spelled",
    [
        (
            "Once at the Castle, there lived happy Tess the fox.",
            "once at the castle , there lived happy tess the fox .",
        ),
        ("LONG AGO", "long ago"),
        ("", ""),
        ('Tess said "I am happy".', 'tess said " i am happy " .'),
    ],
)
def test_case_and_marks_are_adapted(typed, spelled):
    assert legal(typed, TALES) == spelled and TALES.decode(TALES.encode(spelled)) == spelled


def test_once_upon_a_time_leads_to_a_tale():
    with pytest.raises(UserError) as refused:
        legal("Once upon a time", TALES)
    assert str(refused.value) == (
        "the words 'upon' and 'time' are not in the vocabulary of 261 words: the nearest spellings are 'pony' or 'spoon' for "
        "'upon', 'tired' for 'time'; a tale begins like 'once at the castle there lived'"
    )


def test_the_beginnings_are_those_of_tales():
    for words in BEGINNINGS:
        assert legal(words, TALES) == words
        ways = [
            template.format(place="castle", cast="...") for template in tales.TEMPLATES["opening"]
        ]
        assert any(way.startswith(words) for way in ways)


def test_the_beginning_with_most_words_in_common_is_named():
    with pytest.raises(UserError, match=r"the word 'time' is not .* a tale begins like 'long ago'"):
        legal("A long time ago", TALES)


def test_words_of_another_vocabulary_are_named_without_a_tale():
    some = WordTokenizer(["a", "fox", "ran"])
    with pytest.raises(
        UserError,
        match=r"^the word 'foxes' is not in the vocabulary of 3 words: the nearest spellings are "
        r"'fox' for 'foxes'; use words that are$",
    ):
        legal("a foxes", some)
    with pytest.raises(
        UserError, match=r"^the word 'qqq' is not in the vocabulary of 3 words: use words that are$"
    ):
        legal("qqq", some)


def test_nearest_is_by_spelling():
    assert nearest("Foxes", tales.vocabulary())[0] == "fox" and nearest(
        "walking", tales.vocabulary()
    ) == ["walked"]
    assert nearest("qqqq", tales.vocabulary()) == []


def test_byte_pairs_take_any_text_that_is_text():
    pairs = BytePairTokenizer.train(["a fox"], 262)
    assert legal("Once  upon a time \N{FOX FACE}", pairs) == "Once  upon a time \N{FOX FACE}"
    for tokenizer in (pairs, TALES):
        with pytest.raises(UserError, match="holds bytes that are not UTF-8"):
            legal(b"caf\xe9".decode("utf-8", "surrogateescape"), tokenizer)
