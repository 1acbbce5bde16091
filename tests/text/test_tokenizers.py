"""Tokenizers: exact round trips, fixed specials, cards that rebuild them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from minildm.errors import UserError
from minildm.text import tales
from minildm.text.tokenizers import (
    BytePairTokenizer,
    PretrainedTokenizer,
    WordTokenizer,
    load_tokenizer,
)
from minildm.tokens import BOS, EOS, MASK, PAD, SPECIALS

ENGLISH = [
    "the quick brown fox jumps over the lazy dog .\n",
    "the other fox did not jump over the other dog",
] * 5
BYTES = BytePairTokenizer.train(ENGLISH, 300)
WORDS = WordTokenizer(tales.vocabulary())


@pytest.fixture
def pretrained(tmp_path):
    """A tokenizer.json in the manner of BERT: word pieces, specials around a text, truncation and padding on."""
    words = [
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "[UNK]",
        "the",
        "fox",
        "jump",
        "##ed",
        "##s",
        "[",
        "]",
        "pad",
    ]
    model = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    model.add_special_tokens(words[:4])
    model.normalizer, model.pre_tokenizer = (
        normalizers.Lowercase(),
        pre_tokenizers.BertPreTokenizer(),
    )
    model.decoder = decoders.WordPiece()
    model.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)]
    )
    model.enable_truncation(4)
    model.enable_padding(length=4)
    model.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_specials_have_fixed_ids():
    assert SPECIALS == ("<pad>", "<bos>", "<eos>", "<mask>")
    assert (PAD, BOS, EOS, MASK) == (0, 1, 2, 3)


def test_words_round_trip():
    for text in tales.split("train", 50):
        ids = WORDS.encode(text)
        assert len(ids) == len(text.split()) and min(ids) >= 4 and max(ids) < WORDS.size
        assert WORDS.decode(ids) == text
        assert WORDS.pieces(ids) == text.split()
    assert WORDS.size == len(tales.vocabulary()) + 4


def test_an_unknown_word_is_named():
    with pytest.raises(UserError, match="'dragon' is not in the vocabulary"):
        WORDS.encode("once there lived a dragon .")


@given(st.text(max_size=80))
def test_bytes_round_trip_any_text(text):
    ids = BYTES.encode(text)
    assert BYTES.decode(ids) == text
    assert all(4 <= i < BYTES.size for i in ids)


@pytest.mark.parametrize("text", ["<eos>", "a <pad> b <mask>", "<bos><eos>"])
def test_a_special_written_in_a_text_is_text(text):
    assert min(BYTES.encode(text)) >= 4
    assert BYTES.decode(BYTES.encode(text)) == text


def test_bytes_learn_words_and_are_deterministic():
    assert len(BYTES.encode("the fox")) < len("the fox")
    assert 260 < BYTES.size <= 300
    assert BytePairTokenizer.train(ENGLISH, 300).card() == BYTES.card()
    with pytest.raises(UserError, match="vocabulary of 100 is too small: give at least 260"):
        BytePairTokenizer.train(ENGLISH, 100)


@pytest.mark.parametrize("tokenizer", [WORDS, BYTES], ids=["words", "bytes"])
def test_decode_stops_at_eos_and_drops_specials(tokenizer):
    text = "once there lived ada ."
    ids = tokenizer.encode(text)
    assert tokenizer.decode([BOS, *ids[:2], MASK, *ids[2:], EOS, *ids, PAD, PAD]) == text
    assert tokenizer.decode([BOS, EOS]) == ""
    assert tokenizer.pieces([BOS, MASK, *ids[:1], EOS, PAD]) == [
        "<bos>",
        "<mask>",
        *tokenizer.pieces(ids[:1]),
        "<eos>",
        "<pad>",
    ]


@pytest.mark.parametrize("tokenizer", [WORDS, BYTES], ids=["words", "bytes"])
def test_cards_rebuild_a_tokenizer(tokenizer):
    again = load_tokenizer(json.loads(json.dumps(tokenizer.card())))
    text = "the ball is mine"
    assert type(again) is type(tokenizer) and again.size == tokenizer.size
    assert again.encode(text) == tokenizer.encode(text) and again.card() == tokenizer.card()


def test_pretrained_ids_move_up_by_four(pretrained):
    tokenizer = PretrainedTokenizer(pretrained)
    assert tokenizer.size == 12 + 4
    assert tokenizer.encode("the fox jumped") == [8, 9, 10, 11]
    assert tokenizer.decode([BOS, 8, 9, 10, 11, EOS, PAD]) == "the fox jumped"
    assert tokenizer.pieces([8, 9, EOS]) == ["the", "fox", "<eos>"]


def test_pretrained_neither_truncates_nor_pads_nor_adds_specials(pretrained):
    tokenizer = PretrainedTokenizer(pretrained)
    assert len(tokenizer.encode("the fox " * 20)) == 40
    assert tokenizer.encode("fox") == [9]
    assert tokenizer.encode("[PAD]") == [13, 15, 14]  # text, not the special of id 0


def test_pretrained_card_knows_its_file(pretrained):
    card = PretrainedTokenizer(pretrained).card()
    assert load_tokenizer(json.loads(json.dumps(card))).encode("the fox") == [8, 9]
    pretrained.write_text(pretrained.read_text() + "\n")
    with pytest.raises(UserError, match="is not the one this card was made from"):
        load_tokenizer(card)


def test_bad_tokenizers_are_refused(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        PretrainedTokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="holds no tokenizer"):
        PretrainedTokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match="no tokenizer 'runes'"):
        load_tokenizer({"kind": "runes"})
