"""The exact entropy of the distribution of tales: the limit of every cross-entropy in the book."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TypeVar

from .tales import Character, Choose, Option, cast_sizes, close_world, step
from .tales_lexicon import LEXICON, TEMPLATES, Lexicon

Result = TypeVar("Result")
Signature = tuple[tuple[tuple[int, bool], ...], ...]  # a place: (things held, has a mood) of each


def signature(world: list[Character]) -> Signature:
    """What decides a world's future up to renaming: who is where with whom, things held, moods."""
    rooms: dict[str, list[tuple[int, bool]]] = {}
    for c in world:
        rooms.setdefault(c.place, []).append((len(c.things), c.mood is not None))
    return tuple(sorted(tuple(sorted(room)) for room in rooms.values()))


def realize(sign: Signature, lexicon: Lexicon) -> list[Character]:
    """A world with the given signature."""
    things = iter(lexicon.thing)
    world = []
    for place, room in zip(lexicon.place, sign):
        for count, moody in room:
            mood = lexicon.mood[0] if moody else None
            holds = {next(things): lexicon.color[0] for _ in range(count)}
            world.append(Character("", "", "", place, mood, holds))
    return world


def outcomes(program: Callable[[Choose], Result]) -> Iterator[tuple[Result, float]]:
    """Run a program once for each sequence of decisions, each equally likely among its options.

    Args:
        program: (choose) -> result, whose choices are those of `choose`.

    Returns:
        An iterator of (result, -log probability in nats).
    """
    path: list[int] = []
    while True:
        sizes: list[int] = []

        def follow(_: str, options: Sequence[Option], /, sizes: list[int] = sizes) -> Option:
            if len(sizes) == len(path):
                path.append(0)
            sizes.append(len(options))
            return options[path[len(sizes) - 1]]

        result = program(follow)
        yield result, sum(math.log(n) for n in sizes)
        while path and path[-1] == sizes[len(path) - 1] - 1:
            path.pop()
        if not path:
            return
        path[-1] += 1


@cache
def transitions(sign: Signature, lexicon: Lexicon) -> tuple[float, dict[Signature, float]]:
    """Entropy in nats of one event from a signature on, and the distribution of the next one."""

    def tell(choose: Choose) -> tuple[Signature, str]:
        def choose_but_color(what: str, options: Sequence[Option], /) -> Option:
            return options[0] if what == "color" else choose(what, options)

        world = realize(sign, lexicon)
        key, _ = step(choose_but_color, world, lexicon)
        return signature(world), key

    total = 0.0
    after: defaultdict[Signature, float] = defaultdict(float)
    for (following, key), nats in outcomes(tell):
        p = math.exp(-nats)
        color = math.log(len(lexicon.color)) if key == "found" else 0.0
        total += p * (nats + math.log(len(TEMPLATES[key])) + color)
        after[following] += p
    return total, dict(after)


def entropy(events: int, lexicon: Lexicon = LEXICON) -> float:
    """Exact entropy of the distribution of tales.

        H = E[ sum over decisions of log(number of options) ]

    The future of a world depends only on its `signature`, so H is a sum along a small Markov chain.

    Args:
        events: Their number, at least 1.
        lexicon: Of the language.

    Returns:
        Nats a tale.

    Derived in chapter 00.
    """
    sizes = cast_sizes(lexicon, events)
    total = sum(math.log(len(options)) for options in (lexicon.place, sizes, TEMPLATES["opening"]))
    now: dict[Signature, float] = {}
    for n in sizes:
        names = sum(math.log(len(lexicon.name) - i) for i in range(n))
        total += (names + n * math.log(len(lexicon.species) * len(lexicon.trait))) / len(sizes)
        now[((0, False),) * n,] = 1 / len(sizes)
    for _ in range(events):
        after: defaultdict[Signature, float] = defaultdict(float)
        for sign, p in now.items():
            nats, following = transitions(sign, lexicon)
            total += p * nats
            for sign_after, q in following.items():
                after[sign_after] += p * q
        now = after
    for sign, p in now.items():
        world = realize(sign, lexicon)
        ends = outcomes(lambda choose, world=world: close_world(choose, world))
        total += p * sum(
            math.exp(-nats) * (nats + math.log(len(TEMPLATES[key]))) for (key, _), nats in ends
        )
    return total
