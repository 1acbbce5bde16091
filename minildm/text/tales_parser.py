"""Reading a tale back: is it a tale, is it consistent, where is it wrong, how probable is it?"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .tales import Character, Option, cast_sizes, narrate
from .tales_lexicon import LEXICON, OWNER, TAKER, Lexicon
from .tales_sentences import Sentence, cast_of, match, patterns, sentences

ERROR_TYPES = ("grammar", "entity", "holder", "color", "place", "species", "mood", "ending")


class Error(NamedTuple):
    """A fault of a tale: the position of its token, one of `ERROR_TYPES`, and a sentence."""

    position: int
    type: str
    message: str


@dataclass(frozen=True)
class Report:
    """What a reader finds in a text: its errors in reading order and the number of events read."""

    errors: tuple[Error, ...]
    events: int

    @property
    def grammatical(self) -> bool:
        return not any(e.type == "grammar" for e in self.errors)

    @property
    def consistent(self) -> bool:
        return not self.errors


class Reader:
    """Follows the world of a tale sentence by sentence and notes what contradicts it."""

    def __init__(self, lexicon: Lexicon):
        self.lexicon = lexicon
        self.world: dict[str, Character] = {}
        self.errors: list[Error] = []
        self.events = 0

    def note(self, position: int, error_type: str, message: str) -> None:
        """Keep an error."""
        self.errors.append(Error(position, error_type, message))

    def sentence(self, s: Sentence) -> None:
        """Check a sentence against the world, and let it happen."""
        if s.key == "opening":
            self.opening(s)
        elif s.key.startswith("end_"):
            self.ending(s)
        else:
            self.event(s)

    def opening(self, s: Sentence) -> None:
        """Introduce the characters."""
        for i in range(cast_of(s)):
            name = s.words[f"name{i}"]
            if name in self.world:
                self.note(s.at[f"name{i}"], "entity", f"two characters are called {name}")
            self.world[name] = Character(
                name, s.words[f"species{i}"], s.words[f"trait{i}"], s.words["place"]
            )

    def event(self, s: Sentence) -> None:
        """Check one event against the world, then let it happen as far as it makes sense."""
        self.events += 1
        people = {slot: self.world.get(s.words[slot]) for slot in ("a", "b") if slot in s.words}
        for slot, person in people.items():
            if person is None:
                self.note(s.at[slot], "entity", f"nobody is called {s.words[slot]}")
        known = {slot: person for slot, person in people.items() if person is not None}
        if len(known) < len(people):
            return
        a = known["a"]
        if s.words.get("species", a.species) != a.species:
            self.note(s.at["species"], "species", f"{a.name} is the {a.species}")
        if s.words.get("place", a.place) != a.place:
            self.note(s.at["place"], "place", f"{a.name} is at the {a.place}")
        if s.key == "went":
            self.move(s, a)
        elif "mood" in s.words:
            self.feeling(s, a)
        elif "thing" in s.words:
            self.exchange(s, known)

    def move(self, s: Sentence, a: Character) -> None:
        """Check that a character goes somewhere else, and let it go."""
        if s.words["to"] == a.place:
            self.note(s.at["to"], "place", f"{a.name} is already at the {a.place}")
        a.place = s.words["to"]

    def feeling(self, s: Sentence, a: Character) -> None:
        """Check that a mood that begins is new, or that one that is spoken of is there."""
        becomes, mood = s.key == "became", s.words["mood"]
        if (mood == a.mood) == becomes:
            self.note(s.at["mood"], "mood", f"{a.name} is {a.mood or 'in no mood so far'}")
        if becomes:
            a.mood = mood

    def exchange(self, s: Sentence, people: dict[str, Character]) -> None:
        """Check who holds a thing, its color and whose hands are free, and let it change hands."""
        event, thing = s.key.split("_")[0], s.words["thing"]
        holder = next((c for c in self.world.values() if thing in c.things), None)
        if event == "found":
            color = s.words["color"]
            if holder:
                self.note(s.at["thing"], "holder", f"{holder.name} has the {thing} already")
        elif holder is None:
            self.note(s.at["thing"], "entity", f"there is no {thing} here")
            return
        else:
            color = holder.things[thing]
            self.holding(s, holder, people)
        taker = people[TAKER[event]] if event in TAKER else None
        if taker and taker is not holder and len(taker.things) >= self.lexicon.hands:
            self.note(s.at[TAKER[event]], "holder", f"{taker.name} has no free hand")
        if holder and (taker or event == "lost"):
            del holder.things[thing]
        if taker:
            taker.things[thing] = color

    def holding(self, s: Sentence, holder: Character, people: dict[str, Character]) -> None:
        """Check the color and the holder of a thing that an event is about."""
        event, thing = s.key.split("_")[0], s.words["thing"]
        a, b = people["a"], people.get("b")
        color = holder.things[thing]
        if color != s.words["color"]:
            self.note(s.at["color"], "color", f"the {thing} is {color}")
        owner = people[OWNER[event]]
        if holder is not owner or a is b:
            slot = "b" if owner is b else "a"
            self.note(s.at[slot], "holder", f"{holder.name} has the {thing}")
        elif b and event in TAKER and a.place != b.place:
            where = f"{b.name} is at the {b.place}, {a.name} at the {a.place}"
            self.note(s.at["b"], "place", where)

    def ending(self, s: Sentence) -> None:
        """Check the last sentence."""
        a = self.world.get(s.words["a"])
        if a is None:
            self.note(s.at["a"], "ending", f"nobody is called {s.words['a']}")
            return
        thing = s.words.get("thing")
        if thing and thing not in a.things:
            message = f"in the end {a.name} does not have the {thing}"
            self.note(s.at["thing"], "ending", message)
            return
        truths = {"place": a.place, "mood": a.mood, "color": a.things.get(thing or "")}
        for slot, truth in truths.items():
            said = s.words.get(slot, truth)
            if said != truth:
                message = f"in the end the {slot} is {truth or 'not known'}, not {said}"
                self.note(s.at[slot], "ending", message)
        if s.key == "end_nothing" and a.things:
            message = f"in the end {a.name} has the {' and the '.join(a.things)}"
            self.note(s.at["a"], "ending", message)


def read(text: str, lexicon: Lexicon = LEXICON) -> tuple[Report, list[Sentence]]:
    """Parse a text into its report and the sentences understood.

    Args:
        text: Words separated by spaces.
        lexicon: Of the language.

    Returns:
        What `parse` returns, and the sentences that fit a template, in reading order.
    """
    tokens = text.split()
    reader = Reader(lexicon)
    understood = []
    parts = sentences(tokens)
    for n, (start, part) in enumerate(parts):
        s = match(part, start, patterns(lexicon, opening=n == 0))
        if isinstance(s, int):
            reader.note(s, "grammar", f"no sentence goes on with {tokens[s]!r} here")
            continue
        understood.append(s)
        reader.sentence(s)
        ends, last = s.key.startswith("end_"), n == len(parts) - 1
        if ends and not last:
            reader.note(start, "ending", "the tale goes on after its end")
        if last and not ends:
            reader.note(start, "ending", "the tale has no end")
    check_length(reader, tokens, parts)
    return Report(tuple(sorted(reader.errors)), reader.events), understood


def check_length(reader: Reader, tokens: list[str], parts: list[tuple[int, list[str]]]) -> None:
    """Check that a tale has an opening, events enough for its characters, and an end."""
    events = len(parts) - 2
    cast = len(reader.world)
    if not parts:
        reader.note(0, "grammar", "there is no sentence")
    elif events < 1:
        reader.note(len(tokens) - 1, "ending", "a tale needs an opening, an event and an end")
    elif cast > max(cast_sizes(reader.lexicon, events)):
        message = f"{events} events are too few for {cast} characters"
        reader.note(parts[-1][0], "ending", message)


def parse(text: str, lexicon: Lexicon = LEXICON) -> Report:
    """Read a text as a tale and report each error; no text makes it raise.

    Args:
        text: Words separated by spaces.
        lexicon: Of the language.

    Returns:
        A `Report`: grammatical if and only if no error is of type "grammar", consistent if and
        only if there is none at all.
    """
    return read(text, lexicon)[0]


def log_prob(text: str, lexicon: Lexicon = LEXICON) -> float:
    """Exact log-probability of a text under the distribution of tales.

        log p = - sum over decisions of log(number of options)

    The text fixes every decision, because no two templates spell the same sentence; `narrate`
    replays them.

    Args:
        text: Words separated by spaces.
        lexicon: Of the language.

    Returns:
        Nats given the number of events; -inf where the text is no consistent tale.

    Derived in chapter 00.
    """
    report, understood = read(text, lexicon)
    if not report.consistent:
        return -math.inf
    nats = 0.0
    answers = decisions(understood)

    def replay(_: str, options: Sequence[Option], /) -> Option:
        nonlocal nats
        nats += math.log(len(options))
        answer = next(answers)
        return next(option for option in options if plain(option) == answer)

    narrate(replay, report.events, lexicon)
    return -nats


def plain(option: Any) -> Any:
    """An option of `choose` with each character replaced by its name."""
    if isinstance(option, Character):
        return option.name
    return tuple(map(plain, option)) if isinstance(option, tuple) else option


def decisions(understood: list[Sentence]) -> Iterator[Any]:
    """The decisions, in `narrate`'s order, that these sentences spell."""
    opening, *events, end = understood
    w = opening.words
    size = cast_of(opening)
    yield from (w["place"], size)
    for i in range(size):
        yield from (w[f"name{i}"], w[f"species{i}"], w[f"trait{i}"])
    yield opening.template
    for s in events:
        event, _, topic = s.key.partition("_")
        w = s.words
        yield event
        if event == "said":
            yield (w["a"],)
            yield (topic, w.get("thing"))
        else:
            yield tuple(w[slot] for slot in ("a", "to", "mood", "thing", "b") if slot in w)
        if event == "found":
            yield w["color"]
        yield s.template
    yield from (end.words["a"], (end.key.removeprefix("end_"), end.words.get("thing")))
    yield end.template
