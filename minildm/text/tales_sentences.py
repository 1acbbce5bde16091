"""The sentences of a text, each matched to the template that spells it."""

import itertools
from functools import cache
from typing import NamedTuple

from .tales_lexicon import TEMPLATES, Lexicon

WORD_CLASS = {"a": "name", "b": "name", "to": "place"}  # of a slot that is not named after its own


class Sentence(NamedTuple):
    """A sentence matched to a template: its key, the template, each slot's word and position."""

    key: str
    template: str
    words: dict[str, str]
    at: dict[str, int]


class Pattern(NamedTuple):
    """A template as what each of its tokens may be: one word, or a slot's word class."""

    key: str
    template: str
    row: list[tuple[str, frozenset[str] | None]]  # (word, None) or (slot, its words)


def pattern(key: str, template: str, cast: int, lexicon: Lexicon) -> Pattern:
    """The pattern of a template in which `cast` characters are introduced."""
    who = [f"{{trait{i}}} {{name{i}}} the {{species{i}}}" for i in range(cast)]
    spelled = template.replace("{cast}", " , ".join(who[:-1]) + " and " + "".join(who[-1:]))
    row = []
    for token in spelled.split():
        slot = token.strip("{}")
        if token == slot:
            row.append((token, None))
        else:
            words = getattr(lexicon, WORD_CLASS.get(slot) or slot.rstrip("0123456789"))
            row.append((slot, frozenset(words)))
    return Pattern(key, template, row)


@cache
def patterns(lexicon: Lexicon, opening: bool) -> list[Pattern]:
    """The patterns of the first sentence, for each size of the cast, or of all later ones."""
    if opening:
        return [
            pattern("opening", template, cast, lexicon)
            for template in TEMPLATES["opening"]
            for cast in lexicon.cast
        ]
    return [
        pattern(key, template, 0, lexicon)
        for key, templates in TEMPLATES.items()
        if key != "opening"
        for template in templates
    ]


def match(tokens: list[str], start: int, allowed: list[Pattern]) -> Sentence | int:
    """The sentence that the tokens spell, or the position of the first that no template allows."""
    furthest = start
    for key, template, row in allowed:
        good = 0
        for token, (slot, words) in zip(tokens, row):
            if token != slot if words is None else token not in words:
                break
            good += 1
        if good == len(row) == len(tokens):
            slots = {slot: i for i, (slot, words) in enumerate(row) if words is not None}
            at = {slot: start + i for slot, i in slots.items()}
            return Sentence(key, template, {slot: tokens[i] for slot, i in slots.items()}, at)
        furthest = max(furthest, start + min(good, len(tokens) - 1))
    return furthest


def cast_of(opening: Sentence) -> int:
    """The number of characters that an opening introduces."""
    return sum(slot.startswith("name") for slot in opening.words)


def sentences(tokens: list[str]) -> list[tuple[int, list[str]]]:
    """Cut a text after each full stop.

    Args:
        tokens: Of the text.

    Returns:
        A list of (position of the first token, tokens), one for each sentence.
    """
    cuts = [0] + [i + 1 for i, t in enumerate(tokens) if t == "."]
    if cuts[-1] != len(tokens):
        cuts.append(len(tokens))
    return [(i, tokens[i:j]) for i, j in itertools.pairwise(cuts)]
