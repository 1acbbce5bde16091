"""Text as somebody types it, in the words of a vocabulary: case and punctuation are adapted, other
words are named.
"""

import difflib
import re
from collections.abc import Sequence

from ..errors import UserError
from . import tales
from .tokenizers import Tokenizer, WordTokenizer

LIKE = 0.6  # least likeness of two spellings, from 0 to 1
PIECE = re.compile(r"\w+|[^\w\s]")  # a word, or a mark beside it
BEGINNINGS = ("once at the castle there lived", "long ago")  # of tales


def nearest(word: str, words: Sequence[str], count: int = 3) -> list[str]:
    """The words of a vocabulary that are spelled most like another one.

    Args: `word`; `words` to choose from; `count`, at most so many. Returns them, the most alike first; none may be alike.
    Derived in chapter 00. Source: ours.
    """
    return difflib.get_close_matches(word.lower(), words, count, LIKE)


def legal(text: str, tokenizer: Tokenizer) -> str:
    """A text with only words that a tokenizer has: capitals become small, marks are set apart where
    that is all it takes.

    Args:
        text: The text.
        tokenizer: Which has words of its own or takes any text.

    Returns:
        The text to encode.

    Raises:
        UserError: On bytes that are not UTF-8, and on other words: it names the nearest ones and a
            way to begin.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(
            f"the text {text!r} holds bytes that are not UTF-8: write it in a terminal or a file that is UTF-8"
        )
    if not isinstance(tokenizer, WordTokenizer):
        return text
    known = [known_words(word, tokenizer) for word in text.split()]
    missing = [word for word, pieces in zip(text.split(), known) if pieces is None]
    if missing:
        raise UserError(
            f"{unknown(missing, len(tokenizer.words))}: {advice(text, missing, tokenizer)}"
        )
    return " ".join(piece for pieces in known for piece in pieces)


def known_words(word: str, tokenizer: WordTokenizer) -> list[str] | None:
    """What a typed word is in a vocabulary: itself, itself in small letters, or its pieces; nothing
    if it is not there.
    """
    for pieces in ([word], [word.lower()], PIECE.findall(word.lower())):
        if all(piece in tokenizer.ids for piece in pieces):
            return pieces
    return None


def unknown(missing: list[str], size: int) -> str:
    """The first half of the sentence about words that a vocabulary lacks."""
    *most, last = dict.fromkeys(map(repr, missing))
    names = f"the words {', '.join(most)} and {last} are" if most else f"the word {last} is"
    return f"{names} not in the vocabulary of {size} words"


def advice(text: str, missing: list[str], tokenizer: WordTokenizer) -> str:
    """The second half: what is spelled most like them, and for Tales the beginning that has most
    words in common.
    """
    near = {word: " or ".join(map(repr, nearest(word, tokenizer.words))) for word in missing}
    spelled = [f"{words} for {word!r}" for word, words in near.items() if words]
    said = set(text.lower().split())
    begin = max(BEGINNINGS, key=lambda words: len(said & set(words.split())))
    end = (
        f"a tale begins like {begin!r}"
        if tokenizer.words == tales.vocabulary()
        else "use words that are"
    )
    return f"the nearest spellings are {', '.join(spelled)}; {end}" if spelled else end
