"""The Tales language: a small world in words, whose distribution is known exactly.

One generative program, `narrate`, asks a function `choose(what, options)` for every decision, and
every decision is uniform. Drawing at random samples a tale, replaying what a parser read scores
it, and trying all options enumerates the language. Therefore

    log p(tale) = - sum over decisions of log(number of options).
"""

import itertools
import math
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from .tales_lexicon import LEXICON, OWNER, TAKER, TEMPLATES, Lexicon

Option = TypeVar("Option")
Words = dict[str, str | None]  # of a sentence: slot -> word


class Choose(Protocol):
    """Takes one decision: which of the options?"""

    def __call__(self, what: str, options: Sequence[Option], /) -> Option: ...


@dataclass
class Character:
    """Somebody in a tale: name, species and trait are fixed; events change the rest."""

    name: str
    species: str
    trait: str
    place: str
    mood: str | None = None
    things: dict[str, str] = field(default_factory=dict)  # thing -> color


class Tale(NamedTuple):
    """A tale as text, with its exact log-probability in nats given its number of events."""

    text: str
    log_prob: float


def possible(world: list[Character], lexicon: Lexicon) -> dict[str, list[tuple[Any, ...]]]:
    """The arguments that each event may take now; an event that has none is left out."""
    free = [a for a in world if len(a.things) < lexicon.hands]
    used = {thing for a in world for thing in a.things}
    pairs = [(a, b) for a in world for b in world if a is not b]
    neighbors = [(a, b) for a, b in pairs if a.place == b.place]
    moves = {
        "went": [(a, to) for a in world for to in lexicon.place if to != a.place],
        "found": [(a, thing) for a in free for thing in lexicon.thing if thing not in used],
        "lost": [(a, thing) for a in world for thing in a.things],
        "gave": [(a, thing, b) for a, b in neighbors if b in free for thing in a.things],
        "took": [(a, thing, b) for a, b in neighbors if a in free for thing in b.things],
        "wanted": [(a, thing, b) for a, b in pairs for thing in b.things],
        "became": [(a, mood) for a in world for mood in lexicon.mood if mood != a.mood],
        "said": [(a,) for a in world],
    }
    return {event: options for event, options in moves.items() if options}


def facts(a: Character) -> list[tuple[str, str | None]]:
    """What can be truly said of a character: (topic, thing)."""
    found: list[tuple[str, str | None]] = [("place", None)]
    found += [("thing", thing) for thing in a.things]
    return found if a.mood is None else [*found, ("mood", None)]


def words_about(a: Character, thing: str | None = None) -> Words:
    """The words of a sentence about a character and perhaps one of its things."""
    color = None if thing is None else a.things[thing]
    return {
        "a": a.name,
        "species": a.species,
        "place": a.place,
        "mood": a.mood,
        "thing": thing,
        "color": color,
    }


def step(choose: Choose, world: list[Character], lexicon: Lexicon) -> tuple[str, Words]:
    """Choose one event and apply it to the world; returns its template key and its words."""
    moves = possible(world, lexicon)
    event = choose("event", list(moves))
    a, *rest = choose("arguments", moves[event])
    words = words_about(a)
    if event == "said":
        topic, thing = choose("fact", facts(a))
        return f"said_{topic}", words_about(a, thing)
    if event == "went":
        a.place = words["to"] = rest[0]
    elif event == "became":
        a.mood = words["mood"] = rest[0]
    else:
        thing, people = rest[0], dict(zip("ab", (a, *rest[1:])))
        owner = people[OWNER[event]] if event in OWNER else None
        color = owner.things[thing] if owner else choose("color", lexicon.color)
        words |= {"thing": thing, "color": color}
        words |= {slot: person.name for slot, person in people.items()}
        if owner and event != "wanted":
            del owner.things[thing]
        if event in TAKER:
            people[TAKER[event]].things[thing] = color
    return event, words


def cast_sizes(lexicon: Lexicon, events: int) -> list[int]:
    """Numbers of characters a tale may have: no more than its events, and at least the smallest."""
    return [n for n in lexicon.cast if n <= max(events, lexicon.cast[0])]


def open_world(choose: Choose, lexicon: Lexicon, events: int) -> tuple[list[Character], Words]:
    """Choose the place and the cast; returns the world and the words of the opening."""
    place = choose("place", lexicon.place)
    size = choose("cast", cast_sizes(lexicon, events))
    world: list[Character] = []
    for _ in range(size):
        name = choose("name", [n for n in lexicon.name if n not in {c.name for c in world}])
        species = choose("species", lexicon.species)
        trait = choose("trait", lexicon.trait)
        world.append(Character(name, species, trait, place))
    who = [f"{c.trait} {c.name} the {c.species}" for c in world]
    return world, {"place": place, "cast": " , ".join(who[:-1]) + " and " + who[-1]}


def close_world(choose: Choose, world: list[Character]) -> tuple[str, Words]:
    """Choose the character and the fact on which the tale ends."""
    a = choose("hero", world)
    topic, thing = choose("fact", facts(a) + [("nothing", None)] * (not a.things))
    return f"end_{topic}", words_about(a, thing)


def narrate(choose: Choose, events: int, lexicon: Lexicon = LEXICON) -> list[str]:
    """Tell a tale sentence by sentence, where `choose(what, options)` takes every decision.

    Args:
        choose: Returns one of its options.
        events: Their number, at least 1.
        lexicon: Of the language.

    Returns:
        The sentences: an opening, the events, and an end.

    Raises:
        ValueError: When there is no event.

    Derived in chapter 00.
    """
    if events < 1:
        raise ValueError(f"a tale needs at least 1 event, not {events}")
    world, words = open_world(choose, lexicon, events)
    sentences = [choose("template", TEMPLATES["opening"]).format(**words)]
    for n in range(events + 1):
        key, words = step(choose, world, lexicon) if n < events else close_world(choose, world)
        sentences.append(choose("template", TEMPLATES[key]).format(**words))
    return sentences


def sample(rng: random.Random, events: int = 3, lexicon: Lexicon = LEXICON) -> Tale:
    """Draw a tale and its exact log-probability.

        log p = - sum over decisions of log(number of options)

    Args:
        rng: The only source of randomness.
        events: Their number, at least 1; 3 give about 50 tokens, 60 about 500.
        lexicon: Of the language.

    Returns:
        The text, and log p in nats given the number of events.

    Raises:
        ValueError: When there is no event.

    Derived in chapter 00.
    """
    log_prob = 0.0

    def draw(_: str, options: Sequence[Option], /) -> Option:
        nonlocal log_prob
        log_prob -= math.log(len(options))
        return options[rng.randrange(len(options))]

    return Tale(" ".join(narrate(draw, events, lexicon)), log_prob)


SPLITS = {"test": range(0, 5), "valid": range(5, 10), "train": range(10, 100)}


def stream(name: str, events: int = 3, seed: int = 0) -> Iterator[str]:
    """Tales of one split without end.

    A tale belongs to a split by a checksum of its text, so that no tale is in two splits.

    Args:
        name: "train", "valid" or "test".
        events: In each tale.
        seed: Of the draw.

    Returns:
        An iterator of texts, the same ones on every machine.

    Raises:
        ValueError: On another name, when the first tale is asked for.
    """
    if name not in SPLITS:
        raise ValueError(f"no split {name!r}: choose one of {', '.join(SPLITS)}")
    rng = random.Random(f"{name}-{events}-{seed}")
    while True:
        text = sample(rng, events).text
        if zlib.crc32(text.encode()) % 100 in SPLITS[name]:
            yield text


def split(name: str, count: int, events: int = 3, seed: int = 0) -> list[str]:
    """The first tales of one split; see `stream`.

    Args:
        name: "train", "valid" or "test".
        count: Of tales.
        events: In each tale.
        seed: Of the draw.

    Returns:
        Texts, the same ones on every machine.

    Raises:
        ValueError: On another name.
    """
    return list(itertools.islice(stream(name, events, seed), count))


def vocabulary(lexicon: Lexicon = LEXICON) -> list[str]:
    """Every word of the language, closed classes first, in a fixed order.

    Args:
        lexicon: Of the language.

    Returns:
        The words.
    """
    closed = {w for group in TEMPLATES.values() for t in group for w in t.split() if "{" not in w}
    return sorted(closed | {","}) + [word for words in lexicon.classes() for word in words]
