"""Text as somebody types it, in the words of a vocabulary: other words are named."""

import difflib
import re
from collections.abc import Sequence

from ..errors import UserError
from . import tales
from .tokenizers import Tokenizer, WordTokenizer

LIKE = 0.6  # least likeness of two spellings, from 0 to 1
PIECE = re.compile(r"\w+|[^\w\s]")  # a word, or a mark beside it
BEGINNINGS = ("once at the castle there lived", "long ago")  # of tales


def nearest(word: str, words: Sequence[str]) -> list[str]:
    """The words of a vocabulary that are spelled most like another one.

    Args:
        word: Not in the vocabulary.
        words: The vocabulary.

    Returns:
        At most three words, the most alike first; none may be alike.
    """
    return difflib.get_close_matches(word.lower(), words, cutoff=LIKE)


def legal(text: str, tokenizer: Tokenizer) -> str:
    """A text with only words that a tokenizer has, where case and spaces are all it takes.

    Args:
        text: As it was typed.
        tokenizer: Which has words of its own or takes any text.

    Returns:
        The text to encode: capitals become small, and punctuation is set apart.

    Raises:
        UserError: On bytes that are not UTF-8, and on other words: it names the nearest ones and a
            way to begin.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(
            f"the text {text!r} holds bytes that are not UTF-8: "
            "write it in a terminal or a file that is UTF-8"
        )
    if not isinstance(tokenizer, WordTokenizer):
        return text
    found = {word: in_vocabulary(word, tokenizer) for word in text.split()}
    missing = [word for word, pieces in found.items() if pieces is None]
    if missing:
        raise UserError(
            f"{unknown(missing, len(tokenizer.words))}: {advice(text, missing, tokenizer)}"
        )
    return " ".join(piece for word in text.split() for piece in found[word] or ())


def in_vocabulary(word: str, tokenizer: WordTokenizer) -> list[str] | None:
    """A typed word as words of a vocabulary: itself, in small letters, or in pieces; else None."""
    for pieces in ([word], [word.lower()], PIECE.findall(word.lower())):
        if all(piece in tokenizer.ids for piece in pieces):
            return pieces
    return None


def unknown(missing: list[str], size: int) -> str:
    """The first half of the sentence about words that a vocabulary lacks."""
    *most, last = map(repr, missing)
    names = f"the words {', '.join(most)} and {last} are" if most else f"the word {last} is"
    return f"{names} not in the vocabulary of {size} words"


def advice(text: str, missing: list[str], tokenizer: WordTokenizer) -> str:
    """The second half: the nearest spellings, and for Tales the beginning that is most alike."""
    near = {word: " or ".join(map(repr, nearest(word, tokenizer.words))) for word in missing}
    spelled = [f"{words} for {word!r}" for word, words in near.items() if words]
    said = set(text.lower().split())
    begin = max(BEGINNINGS, key=lambda words: len(said & set(words.split())))
    is_tales = tokenizer.words == tales.vocabulary()
    end = f"a tale begins like {begin!r}" if is_tales else "use words that are"
    return f"the nearest spellings are {', '.join(spelled)}; {end}" if spelled else end
