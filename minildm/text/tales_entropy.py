"""The exact entropy of the law of tales: the physical limit of every cross-entropy in the book."""

import math
from collections import Counter
from collections.abc import Callable
from functools import cache

from .tales import LEXICON, TEMPLATES, Character, Choose, Lexicon, cast_sizes, close_world, step


def signature(world: list[Character]) -> tuple:
    """What of a world decides its future up to renaming: who is where with whom, hands used, mood
    or none.
    """
    rooms: dict[str, list] = {}
    for c in world:
        rooms.setdefault(c.place, []).append((len(c.things), c.mood is not None))
    return tuple(sorted(tuple(sorted(room)) for room in rooms.values()))


def realize(sign: tuple, lexicon: Lexicon) -> list[Character]:
    """A world with the given signature."""
    kinds = iter(lexicon.kind)
    return [
        Character(
            "",
            "",
            "",
            lexicon.place[i],
            lexicon.mood[0] if moody else None,
            {next(kinds): lexicon.color[0] for _ in range(held)},
        )
        for i, room in enumerate(sign)
        for held, moody in room
    ]


def outcomes(program: Callable[[Choose], object]):
    """Run a program once for each sequence of decisions, each equally likely among its options.

    Args:
        program: (choose) -> result, whose choices are those of `choose`.

    Returns:
        An iterator of (result, -log probability in nats).
    """
    path: list[int] = []
    while True:
        sizes: list[int] = []

        def follow(_, options, sizes=sizes):
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
def transitions(sign: tuple, lexicon: Lexicon) -> tuple[float, dict[tuple, float]]:
    """Entropy in nats of one event told from a signature, and the law of the next signature."""

    def tell(choose):
        world = realize(sign, lexicon)
        key, _ = step(
            lambda what, options: options[0] if what == "color" else choose(what, options),
            world,
            lexicon,
        )
        return signature(world), key

    entropy, after = 0.0, Counter()
    for (nxt, key), nats in outcomes(tell):
        p = math.exp(-nats)
        entropy += p * (
            nats
            + math.log(len(TEMPLATES[key]))
            + (math.log(len(lexicon.color)) if key == "found" else 0.0)
        )
        after[nxt] += p
    return entropy, dict(after)


def entropy(events: int, lexicon: Lexicon = LEXICON) -> float:
    """Exact entropy of the law of tales, H = E[ sum over decisions of log(number of options) ].

    The future of a world depends only on its `signature`, so H is a sum along a small Markov chain.
    Args: `events` >= 1; `lexicon`. Returns nats a tale. Raises nothing. Derived in chapter 00. Source: ours.
    """
    sizes = cast_sizes(lexicon, events)
    total = (
        math.log(len(lexicon.place)) + math.log(len(sizes)) + math.log(len(TEMPLATES["opening"]))
    )
    law: Counter = Counter()
    for n in sizes:
        names = sum(math.log(len(lexicon.name) - i) for i in range(n))
        total += (names + n * math.log(len(lexicon.species) * len(lexicon.trait))) / len(sizes)
        law[(((0, False),) * n,)] += 1 / len(sizes)
    for _ in range(events):
        after: Counter = Counter()
        for sign, p in law.items():
            nats, nexts = transitions(sign, lexicon)
            total += p * nats
            for nxt, q in nexts.items():
                after[nxt] += p * q
        law = after
    for sign, p in law.items():
        ends = outcomes(lambda choose, sign=sign: close_world(choose, realize(sign, lexicon)))
        total += p * sum(
            math.exp(-nats) * (nats + math.log(len(TEMPLATES[key]))) for (key, _), nats in ends
        )
    return total
