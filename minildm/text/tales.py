"""The Tales language: a small world told in words, whose law is known exactly.

One generative program, `narrate`, asks a `choose(what, options)` for every decision, and every
decision is uniform. Drawing at random samples a tale; replaying what a parser read scores it;
trying all options enumerates the language. So log p(tale) = - sum over decisions of log(number of
options), exactly.
"""

import math
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Choose = Callable[[str, Sequence], object]


@dataclass(frozen=True)
class Lexicon:
    """The open word classes of a Tales language; smaller ones make reduced languages that can be
    enumerated.
    """

    name: tuple[str, ...]
    species: tuple[str, ...]
    trait: tuple[str, ...]
    place: tuple[str, ...]
    color: tuple[str, ...]
    kind: tuple[str, ...]
    mood: tuple[str, ...]
    cast: tuple[int, ...] = (
        2,
        3,
        4,
    )  # possible numbers of characters, never more than events allow
    hands: int = 2  # things a character can hold


LEXICON = Lexicon(
    name=tuple(
        "ada ben cleo dan ella finn gus hana ivan june kim leo mia nora otto pia quinn rosa sam tess uma vera "
        "will xena yara zoe abel bella carl dora emil fay greta hugo iris jack kai lola max nell".split()
    ),
    species=tuple(
        "fox owl bear wolf hare deer frog duck goose mole mouse otter beaver badger squirrel hedgehog cat dog "
        "pony goat sheep crow robin swan toad lynx seal crab snail turtle lizard sparrow".split()
    ),
    trait=tuple(
        "shy bold kind sly wise young old tall small brave clever gentle loud quiet quick slow lazy merry proud "
        "polite rude honest greedy curious careful clumsy stubborn humble noisy neat messy strong".split()
    ),
    place=tuple(
        "forest meadow village castle garden harbor market mill barn cave lake river bridge hill valley desert "
        "island tower temple school kitchen cellar library stable orchard swamp field beach port inn camp "
        "palace".split()
    ),
    color=tuple(
        "red blue green yellow white black brown pink purple ruby gray golden silver violet crimson teal".split()
    ),
    kind=tuple(
        "ball hat cup drum flute lamp key coin ring book map rope kite boat bell box basket blanket bottle broom "
        "brush candle chair clock comb crown doll fan feather flag glove hammer jar ladder mask mirror needle "
        "pearl pen pot ribbon scarf shell shoe spoon stone umbrella whistle".split()
    ),
    mood=tuple(
        "happy sad angry calm tired hungry thirsty sleepy lonely afraid jealous grateful hopeful worried excited "
        "bored confused surprised cheerful gloomy".split()
    ),
)

TEMPLATES = {
    "opening": (
        "once at the {place} there lived {cast} .",
        "long ago {cast} lived at the {place} .",
    ),
    "went": (
        "{a} went to the {to} .",
        "{a} the {species} walked to the {to} .",
        "{a} left the {place} and went to the {to} .",
    ),
    "found": (
        "{a} found a {color} {kind} .",
        "{a} the {species} found a {color} {kind} .",
        "at the {place} {a} found a {color} {kind} .",
    ),
    "lost": (
        "{a} lost the {color} {kind} .",
        "{a} the {species} lost the {color} {kind} .",
        "at the {place} {a} lost the {color} {kind} .",
    ),
    "gave": (
        "{a} gave the {color} {kind} to {b} .",
        "{a} gave {b} the {color} {kind} .",
        "{b} got the {color} {kind} from {a} .",
    ),
    "took": (
        "{a} took the {color} {kind} from {b} .",
        "{a} the {species} took the {color} {kind} from {b} .",
    ),
    "wanted": (
        "{a} wanted the {color} {kind} of {b} .",
        "{a} hoped to get the {color} {kind} of {b} .",
    ),
    "became": (
        "{a} became {mood} .",
        "{a} the {species} felt {mood} .",
        "at the {place} {a} grew {mood} .",
    ),
    "said_place": ('{a} said " i am at the {place} " .',),
    "said_thing": (
        '{a} said " i have the {color} {kind} " .',
        '" the {color} {kind} is mine " said {a} .',
    ),
    "said_mood": ('{a} said " i feel {mood} " .', '" i am {mood} " said {a} .'),
    "end_place": ("in the end {a} was at the {place} .",),
    "end_thing": ("in the end {a} had the {color} {kind} .",),
    "end_nothing": ("in the end {a} had nothing .",),
    "end_mood": ("in the end {a} was {mood} .",),
}
EVENTS = ("went", "found", "lost", "gave", "took", "wanted", "became", "said")


@dataclass
class Character:
    """Somebody in a tale: what is fixed (name, species, trait) and what events change (place, mood,
    things).
    """

    name: str
    species: str
    trait: str
    place: str
    mood: str | None = None
    things: dict[str, str] = field(default_factory=dict)  # kind -> color


class Tale(NamedTuple):
    """A tale as text, with its exact log-probability in nats given its number of events."""

    text: str
    log_prob: float


def possible(world: list[Character], lexicon: Lexicon) -> dict[str, list[tuple]]:
    """Arguments that each event may take now: the rules of the world in one place, for telling and
    for checking.
    """
    free = [a for a in world if len(a.things) < lexicon.hands]
    used = {kind for a in world for kind in a.things}
    pairs = [(a, b) for a in world for b in world if a is not b]
    together = [(a, b) for a, b in pairs if a.place == b.place]
    moves = {
        "went": [(a, to) for a in world for to in lexicon.place if to != a.place],
        "found": [(a, kind) for a in free for kind in lexicon.kind if kind not in used],
        "lost": [(a, kind) for a in world for kind in a.things],
        "gave": [(a, kind, b) for a, b in together if b in free for kind in a.things],
        "took": [(a, kind, b) for a, b in together if a in free for kind in b.things],
        "wanted": [(a, kind, b) for a, b in pairs for kind in b.things],
        "became": [(a, mood) for a in world for mood in lexicon.mood if mood != a.mood],
        "said": [(a,) for a in world],
    }
    return {event: options for event, options in moves.items() if options}


def facts(a: Character) -> list[tuple[str, str | None]]:
    """What can be truly said of a character: (topic, thing)."""
    return (
        [("place", None)]
        + [("thing", kind) for kind in a.things]
        + [("mood", None)] * (a.mood is not None)
    )


def step(choose: Choose, world: list[Character], lexicon: Lexicon) -> tuple[str, dict[str, str]]:
    """Choose one event, apply it to the world, and return its template key with the words for its
    slots.
    """
    moves = possible(world, lexicon)
    event = choose("event", [e for e in EVENTS if e in moves])
    a, *rest = choose("arguments", moves[event])
    words = {"a": a.name, "species": a.species, "place": a.place}
    key = event
    if event == "went":
        (a.place,) = rest
        words["to"] = a.place
    elif event == "became":
        (a.mood,) = rest
        words["mood"] = a.mood
    elif event == "said":
        topic, kind = choose("fact", facts(a))
        key = f"said_{topic}"
        words |= {"mood": a.mood, "kind": kind, "color": a.things.get(kind)}
    else:
        kind, b = rest[0], rest[1] if len(rest) == 2 else None
        holder = b if event in ("took", "wanted") else a
        if event == "found":
            a.things[kind] = choose("color", lexicon.color)
        words |= {"kind": kind, "color": holder.things[kind], "b": b and b.name}
        if event in ("lost", "gave", "took"):
            color = holder.things.pop(kind)
            if event != "lost":
                (b if event == "gave" else a).things[kind] = color
    return key, words


def cast_sizes(lexicon: Lexicon, events: int) -> list[int]:
    """Numbers of characters a tale may have: no more than its events, and at least the smallest."""
    return [n for n in lexicon.cast if n <= max(events, lexicon.cast[0])]


def open_world(
    choose: Choose, lexicon: Lexicon, events: int
) -> tuple[list[Character], dict[str, str]]:
    """Choose the place and the cast, and return the world with the words of the opening."""
    place = choose("place", lexicon.place)
    size = choose("cast", cast_sizes(lexicon, events))
    world: list[Character] = []
    for _ in range(size):
        name = choose("name", [n for n in lexicon.name if n not in {c.name for c in world}])
        world.append(
            Character(
                name, choose("species", lexicon.species), choose("trait", lexicon.trait), place
            )
        )
    who = [f"{c.trait} {c.name} the {c.species}" for c in world]
    return world, {"place": place, "cast": " , ".join(who[:-1]) + " and " + who[-1]}


def close_world(choose: Choose, world: list[Character]) -> tuple[str, dict[str, str]]:
    """Choose the character and the fact on which the tale ends."""
    a = choose("hero", world)
    topic, kind = choose("fact", facts(a) + [("nothing", None)] * (not a.things))
    return f"end_{topic}", {
        "a": a.name,
        "place": a.place,
        "mood": a.mood,
        "kind": kind,
        "color": a.things.get(kind),
    }


def narrate(choose: Choose, events: int, lexicon: Lexicon = LEXICON) -> list[str]:
    """Tell a tale of `events` events sentence by sentence; `choose(what, options)` takes every decision.

    Args: `choose`, which returns one of `options`; `events` >= 1; `lexicon`. Returns the sentences.
    Raises ValueError when `events` < 1. Derived in chapter 00. Source: ours.
    """
    if events < 1:
        raise ValueError(f"a tale needs at least 1 event, not {events}")
    world, words = open_world(choose, lexicon, events)
    sentences = [choose("template", TEMPLATES["opening"]).format(**words)]
    for _ in range(events):
        key, words = step(choose, world, lexicon)
        sentences.append(choose("template", TEMPLATES[key]).format(**words))
    key, words = close_world(choose, world)
    sentences.append(choose("template", TEMPLATES[key]).format(**words))
    return sentences


def sample(rng: random.Random, events: int = 3, lexicon: Lexicon = LEXICON) -> Tale:
    """Draw a tale and its exact log-probability, log p = - sum over decisions of log(number of options).

    Args: `rng`, the only source of randomness; `events` >= 1 (3 give about 50 tokens, 60 about 500); `lexicon`.
    Returns a `Tale`: its text, and log p in nats given the number of events.
    Raises ValueError when `events` < 1. Derived in chapter 00. Source: ours.
    """
    log_prob = 0.0

    def draw(_, options):
        nonlocal log_prob
        log_prob -= math.log(len(options))
        return options[rng.randrange(len(options))]

    return Tale(" ".join(narrate(draw, events, lexicon)), log_prob)


SPLITS = {"test": range(0, 5), "valid": range(5, 10), "train": range(10, 100)}


def split(name: str, count: int, events: int = 3, seed: int = 0) -> list[str]:
    """Tales of one split: a tale belongs to "train", "valid" or "test" by a checksum of its text,
    so no tale is in two.

    Args:
        name: The name.
        count: Of tales.
        events: In each.
        seed: Of the draw.

    Returns:
        Texts, the same ones on every machine.

    Raises:
        ValueError: On another name.
    """
    if name not in SPLITS:
        raise ValueError(f"no split {name!r}: choose one of {', '.join(SPLITS)}")
    rng = random.Random(f"{name}-{events}-{seed}")
    texts: list[str] = []
    while len(texts) < count:
        text = sample(rng, events).text
        if zlib.crc32(text.encode()) % 100 in SPLITS[name]:
            texts.append(text)
    return texts


def vocabulary(lexicon: Lexicon = LEXICON) -> list[str]:
    """Every word of the language, closed classes first, in a fixed order.

    Args: `lexicon`. Returns the words. Derived in chapter 00. Source: ours.
    """
    closed = {w for group in TEMPLATES.values() for t in group for w in t.split() if "{" not in w}
    classes = (
        lexicon.name,
        lexicon.species,
        lexicon.trait,
        lexicon.place,
        lexicon.color,
        lexicon.kind,
        lexicon.mood,
    )
    return sorted(closed | {","}) + [word for words in classes for word in words]
