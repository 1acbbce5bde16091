"""Tales with one planted error each: the planter knows its type and the position of the token at fault."""

import copy
import random
from typing import NamedTuple

from minildm.text import tales
from minildm.text.tales import LEXICON, TEMPLATES, Character


class Line(NamedTuple):
    """A sentence of a tale in the making: its template key and words, and the world before it happens."""

    key: str
    template: str
    words: dict[str, str]
    world: list[Character]

    def __str__(self) -> str:
        return self.template.format(**self.words)

    def who(self, slot: str = "a") -> Character:
        return next(c for c in self.world if c.name == self.words[slot])

    def slots(self) -> list[str]:
        return [t.strip("{}") for t in self.template.split() if t.startswith("{")]

    def holder(self) -> str | None:
        """The slot of the character who must hold the thing."""
        if "thing" in self.slots() and self.key != "found":
            return "b" if self.key in ("took", "wanted") else "a"

    def by(self, a: Character) -> "Line":
        """The same sentence about another character."""
        return self.change(a=a.name, species=a.species, place=a.place)

    def change(self, **words: str) -> "Line":
        return self._replace(words=self.words | words)


class Planted(NamedTuple):
    """A text with an error of a type at a token position."""

    text: str
    position: int
    type: str


def story(rng: random.Random, events: int) -> list[Line]:
    """A valid tale, line by line."""

    def draw(_, options):
        return options[rng.randrange(len(options))]

    world, words = tales.open_world(draw, LEXICON, events)
    lines = [Line("opening", draw("", TEMPLATES["opening"]), words, copy.deepcopy(world))]
    for n in range(events + 1):
        before = copy.deepcopy(world)
        key, words = (
            tales.step(draw, world, LEXICON) if n < events else tales.close_world(draw, world)
        )
        lines.append(Line(key, draw("", TEMPLATES[key]), words, before))
    return lines


def edits(rng: random.Random, type: str, line: Line) -> list[tuple[Line, str]]:
    """Ways to put an error of a type into a line: (the line with the error, the slot at fault)."""
    slots, key = line.slots(), line.key
    if key == "opening" or key.startswith("end_") != (type == "ending"):
        return []
    a, others = line.who(), [c for c in line.world if c.name != line.words["a"]]
    b = line.who("b") if "b" in slots else None

    def other(options, *not_these):
        return rng.choice([o for o in options if o not in not_these])

    stranger = other(LEXICON.name, *(c.name for c in line.world))
    owned = {k for c in line.world for k in c.things}
    out: list[tuple[Line, str]] = []
    if type == "entity":
        out += [(line.change(**{slot: stranger}), slot) for slot in ("a", "b") if slot in slots]
        if line.holder():
            out.append((line.change(thing=other(LEXICON.thing, *owned)), "thing"))
    elif type == "holder":
        if line.holder() == "a":
            out += [(line.by(c), "a") for c in others if c is not b]
        elif line.holder() == "b":
            out += [(line.change(b=c.name), "b") for c in others if c is not b]
        elif key == "found":
            out += [(line.change(thing=k), "thing") for k in owned]
            out += [(line.by(c), "a") for c in others if len(c.things) == LEXICON.hands]
    elif type == "color":
        if line.holder():
            out.append((line.change(color=other(LEXICON.color, line.words["color"])), "color"))
    elif type == "place":
        if "place" in slots:
            out.append((line.change(place=other(LEXICON.place, a.place)), "place"))
        if key == "went":
            out.append((line.change(to=a.place), "to"))
        if key == "gave":
            free = [c for c in others if len(c.things) < LEXICON.hands]
            out += [(line.change(b=c.name), "b") for c in free if c.place != a.place]
    elif type == "species" and "species" in slots:
        out.append((line.change(species=other(LEXICON.species, a.species)), "species"))
    elif type == "mood":
        if key == "said_mood":
            out.append((line.change(mood=other(LEXICON.mood, a.mood)), "mood"))
        if key == "became" and a.mood:
            out.append((line.change(mood=a.mood), "mood"))
    elif type == "ending":
        out.append((line.change(a=stranger), "a"))
        for slot, options in (
            ("place", LEXICON.place),
            ("mood", LEXICON.mood),
            ("color", LEXICON.color),
        ):
            out += [(line.change(**{slot: other(options, line.words[slot])}), slot)] * (
                slot in slots
            )
        out += [(line.change(thing=other(LEXICON.thing, *a.things)), "thing")] * (
            key == "end_thing"
        )
        out += [(line.change(a=c.name), "a") for c in others if key == "end_nothing" and c.things]
    return out


def begins(lines: list[Line], n: int) -> int:
    """The token position at which line n begins."""
    return sum(len(str(line).split()) for line in lines[:n])


def plant_words(rng: random.Random, lines: list[Line]) -> Planted:
    """A grammar error: a word replaced by one that fits nowhere there, or a word said twice."""
    tokens = " ".join(map(str, lines)).split()
    p = rng.randrange(len(tokens))
    if rng.random() < 0.5:
        return Planted(" ".join(tokens[: p + 1] + tokens[p:]), p + 1, "grammar")
    misfits = LEXICON.mood if tokens[p] in LEXICON.trait else LEXICON.trait  # only traits fit there
    return Planted(" ".join(tokens[:p] + [rng.choice(misfits)] + tokens[p + 1 :]), p, "grammar")


def plant_shape(rng: random.Random, lines: list[Line]) -> Planted:
    """An ending error of the whole: no end, or a tale that goes on after its end."""
    if rng.random() < 0.5:
        lines = lines[:-1]
        return Planted(" ".join(map(str, lines)), begins(lines, len(lines) - 1), "ending")
    return Planted(" ".join(map(str, [*lines, lines[-1]])), begins(lines, len(lines) - 1), "ending")


def plant_twin(lines: list[Line]) -> Planted:
    """An entity error in the opening: two characters of one name."""
    tokens = " ".join(map(str, lines)).split()
    first, second = [i for i, t in enumerate(tokens[: begins(lines, 1)]) if t in LEXICON.name][:2]
    return Planted(
        " ".join(tokens[:second] + [tokens[first]] + tokens[second + 1 :]), second, "entity"
    )


def plant(rng: random.Random, type: str) -> Planted:
    """One tale of 3 to 10 events with one error of a type."""
    while True:
        lines = story(rng, rng.randrange(3, 11))
        if type == "grammar":
            return plant_words(rng, lines)
        if rng.random() < 0.2 and type in ("ending", "entity"):
            return plant_shape(rng, lines) if type == "ending" else plant_twin(lines)
        places = [(n, *edit) for n, line in enumerate(lines) for edit in edits(rng, type, line)]
        if places:
            n, line, slot = rng.choice(places)
            at = begins(lines, n) + line.template.split().index(f"{{{slot}}}")
            return Planted(" ".join(map(str, [*lines[:n], line, *lines[n + 1 :]])), at, type)
