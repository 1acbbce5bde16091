"""Tokenizers: words for Tales, byte pairs trained on a corpus, or those of a pretrained model.

Ids 0..3 are the special tokens in all of them: `encode` makes none, `decode` shows none.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers as hf

from ..errors import UserError
from ..tokens import EOS, NUM_SPECIALS, SPECIALS


def digest(card: dict) -> str:
    """A short fingerprint of a JSON-able card: equal cards, equal digests."""
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()[:16]


def body(ids: Iterable[int]) -> list[int]:
    """The ids of a row that carry text: those before the first <eos>, without special tokens.

    Args:
        ids: Of a row.

    Returns:
        The ids in their order.
    """
    ids = [int(i) for i in ids]
    end = ids.index(EOS) if EOS in ids else len(ids)
    return [i for i in ids[:end] if i >= NUM_SPECIALS]


class Tokenizer:
    """Between text and ids 0 .. size - 1, of which the first are `SPECIALS`."""

    size: int  # entries of the vocabulary, special tokens included

    def encode(self, text: str) -> list[int]:
        """The ids of a text, no special token among them."""
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        """The text that a row of ids spells, up to <eos> and without special tokens."""
        raise NotImplementedError

    def piece(self, i: int) -> str:
        """What one id of a text looks like."""
        raise NotImplementedError

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each id of a row looks like, special tokens by their names."""
        return [SPECIALS[i] if i < NUM_SPECIALS else self.piece(int(i)) for i in ids]

    def card(self) -> dict:
        """What `load_tokenizer` needs to make this tokenizer again, ready for JSON."""
        raise NotImplementedError


class WordTokenizer(Tokenizer):
    """One id a word; text is words separated by spaces, as Tales are."""

    def __init__(self, words: Sequence[str]):
        self.words = list(words)
        self.ids = {word: i for i, word in enumerate(self.words, NUM_SPECIALS)}
        self.size = NUM_SPECIALS + len(self.words)

    def encode(self, text: str) -> list[int]:
        try:
            return [self.ids[word] for word in text.split()]
        except KeyError as missing:
            raise UserError(
                f"the word {missing} is not in the vocabulary of {len(self.words)} words: "
                "use the vocabulary's words or another tokenizer"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(map(self.piece, body(ids)))

    def piece(self, i: int) -> str:
        return self.words[i - NUM_SPECIALS]

    def card(self) -> dict:
        return {"kind": "words", "words": self.words}


class SubwordTokenizer(Tokenizer):
    """A model of the tokenizers library, with its ids moved up by `NUM_SPECIALS`."""

    def __init__(self, model: hf.Tokenizer):
        model.no_truncation()
        model.no_padding()
        model.encode_special_tokens = True  # "<eos>" or "[SEP]" written in a text is text
        self.model = model
        self.size = NUM_SPECIALS + model.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        return [i + NUM_SPECIALS for i in self.model.encode(text, add_special_tokens=False).ids]

    def decode(self, ids: Iterable[int]) -> str:
        return self.model.decode([i - NUM_SPECIALS for i in body(ids)])

    def piece(self, i: int) -> str:
        return self.model.decode([i - NUM_SPECIALS], skip_special_tokens=False)


class BytePairTokenizer(SubwordTokenizer):
    """Byte-level byte-pair encoding: any text can be encoded, and decodes to itself."""

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "BytePairTokenizer":
        """Learn the merges from texts.

        Args:
            texts: The texts.
            vocab_size: The largest size, special tokens included.

        Returns:
            The tokenizer.

        Raises:
            UserError: When `vocab_size` does not even hold the special tokens and the 256 bytes.
        """
        least = NUM_SPECIALS + 256
        if vocab_size < least:
            raise UserError(
                f"a byte-level vocabulary of {vocab_size} is too small: give at least {least}"
            )
        model = hf.Tokenizer(hf.models.BPE())
        model.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = hf.decoders.ByteLevel()
        alphabet = hf.pre_tokenizers.ByteLevel.alphabet()
        size = vocab_size - NUM_SPECIALS
        trainer = hf.trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=alphabet, show_progress=False
        )
        model.train_from_iterator(texts, trainer)
        return cls(model)

    def card(self) -> dict:
        return {"kind": "bytes", "model": json.loads(self.model.to_str())}


class PretrainedTokenizer(SubwordTokenizer):
    """The tokenizer of a pretrained model, read from its tokenizer.json; our id is its id + 4."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            content = self.path.read_bytes()
            model = hf.Tokenizer.from_buffer(content)
        except OSError as fault:
            raise UserError(
                f"the tokenizer {path} cannot be read ({fault.strerror}): "
                "give the path of a tokenizer.json"
            ) from None
        except ValueError:
            raise UserError(
                f"{path} holds no tokenizer: give the path of a tokenizer.json"
            ) from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        super().__init__(model)

    def card(self) -> dict:
        return {"kind": "pretrained", "path": str(self.path), "sha256": self.sha256}


def load_tokenizer(card: dict) -> Tokenizer:
    """The tokenizer that made a card.

    Args:
        card: From `Tokenizer.card`.

    Returns:
        The tokenizer.

    Raises:
        UserError: On a card of another type of tokenizer, or when a pretrained tokenizer's file is
            gone or has changed.
    """
    match card.get("kind"):
        case "words":
            return WordTokenizer(card["words"])
        case "bytes":
            return BytePairTokenizer(hf.Tokenizer.from_str(json.dumps(card["model"])))
        case "pretrained":
            tokenizer = PretrainedTokenizer(card["path"])
            if tokenizer.sha256 != card["sha256"]:
                raise UserError(
                    f"the tokenizer {card['path']} is not the one this card was made from: "
                    "restore the file or train again"
                )
            return tokenizer
        case other:
            raise UserError(f"no tokenizer {other!r}: choose one of words, bytes, pretrained")
