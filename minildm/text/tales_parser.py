"""Reading a tale back: is it grammatical, is it consistent, where is it wrong, and what is its
exact probability.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from .tales import LEXICON, TEMPLATES, Character, Lexicon, cast_sizes, narrate

ERROR_KINDS = ("grammar", "entity", "holder", "color", "place", "species", "mood", "ending")
CLASS_OF_SLOT = {
    "a": "name",
    "b": "name",
    "to": "place",
}  # other slots are named after their word class


class Error(NamedTuple):
    """One fault of a tale: the position of the token at fault, its kind (one of ERROR_KINDS), and a
    sentence.
    """

    position: int
    kind: str
    message: str


@dataclass(frozen=True)
class Report:
    """What a reader finds in a text: its errors in reading order and the number of events read."""

    errors: tuple[Error, ...]
    events: int

    @property
    def grammatical(self) -> bool:
        return not any(e.kind == "grammar" for e in self.errors)

    @property
    def consistent(self) -> bool:
        return not self.errors


class Sentence(NamedTuple):
    """A sentence matched to a template: its key, the template, and each slot's word with its
    position.
    """

    key: str
    template: str
    words: dict[str, str]
    at: dict[str, int]


@cache
def patterns(lexicon: Lexicon) -> list[tuple[str, str, list[tuple[str, frozenset | None]]]]:
    """Each template as a list of (slot or word, word class or None); the opening once for each size
    of cast.
    """
    rows = []
    for key, templates in TEMPLATES.items():
        for template, size in itertools.product(
            templates, lexicon.cast if key == "opening" else [0]
        ):
            who = [f"{{trait{i}}} {{name{i}}} the {{species{i}}}" for i in range(size)]
            row = []
            for token in template.replace(
                "{cast}", " , ".join(who[:-1]) + " and " + "".join(who[-1:])
            ).split():
                slot = token.strip("{}")
                word_class = CLASS_OF_SLOT.get(slot, slot.rstrip("0123456789"))
                row.append(
                    (slot, frozenset(getattr(lexicon, word_class)) if token != slot else None)
                )
            rows.append((key, template, row))
    return rows


def match(tokens: list[str], start: int, rows: list) -> Sentence | int:
    """The sentence that `tokens` spell, or the position of the first token that no template allows."""
    furthest = start
    for key, template, row in rows:
        good = 0
        for token, (slot, words) in zip(tokens, row):
            if token != slot if words is None else token not in words:
                break
            good += 1
        if good == len(row) == len(tokens):
            at = {slot: start + i for i, (slot, words) in enumerate(row) if words is not None}
            return Sentence(key, template, {slot: tokens[i - start] for slot, i in at.items()}, at)
        furthest = max(furthest, start + min(good, len(tokens) - 1))
    return furthest


class Reader:
    """Follows the world of a tale sentence by sentence and notes what contradicts it."""

    def __init__(self, lexicon: Lexicon):
        self.lexicon, self.world, self.errors, self.events = lexicon, {}, [], 0

    def note(self, position: int, kind: str, message: str) -> None:
        self.errors.append(Error(position, kind, message))

    def opening(self, s: Sentence) -> None:
        for i in range(sum(slot.startswith("name") for slot in s.words)):
            name = s.words[f"name{i}"]
            if name in self.world:
                self.note(s.at[f"name{i}"], "entity", f"two characters are called {name}")
            self.world[name] = Character(
                name, s.words[f"species{i}"], s.words[f"trait{i}"], s.words["place"]
            )

    def event(self, s: Sentence) -> None:
        """Check one event against the world, then let it happen as far as it makes sense."""
        self.events += 1
        w, at, event = s.words, s.at, s.key.split("_")[0]
        strangers = [slot for slot in ("a", "b") if slot in w and w[slot] not in self.world]
        for slot in strangers:
            self.note(at[slot], "entity", f"nobody is called {w[slot]}")
        if strangers:
            return
        a, b = self.world[w["a"]], self.world.get(w.get("b"))
        if "species" in w and w["species"] != a.species:
            self.note(at["species"], "species", f"{a.name} is the {a.species}")
        if "place" in w and w["place"] != a.place:
            self.note(at["place"], "place", f"{a.name} is at the {a.place}")
        if event == "went":
            if w["to"] == a.place:
                self.note(at["to"], "place", f"{a.name} is already at the {a.place}")
            a.place = w["to"]
        elif event == "became" or s.key == "said_mood":
            if (w["mood"] == a.mood) == (event == "became"):
                self.note(at["mood"], "mood", f"{a.name} is {a.mood or 'in no mood that was told'}")
            a.mood = w["mood"] if event == "became" else a.mood
        elif "kind" in w:
            self.thing(event, s, a, b)

    def thing(self, event: str, s: Sentence, a: Character, b: Character | None) -> None:
        """Check who holds a thing, its color and whose hands are free, then let it change hands."""
        kind, where = s.words["kind"], s.at["kind"]
        holder = next((c for c in self.world.values() if kind in c.things), None)
        expected = b if event in ("took", "wanted") else a
        taker = {"found": a, "took": a, "gave": b}.get(event)
        if event == "found":
            if holder:
                self.note(where, "holder", f"{holder.name} has the {kind} already")
        elif holder is None:
            self.note(where, "entity", f"there is no {kind} here")
            return
        else:
            if holder.things[kind] != s.words["color"]:
                self.note(s.at["color"], "color", f"the {kind} is {holder.things[kind]}")
            if holder is not expected or a is b:
                self.note(
                    s.at["b" if expected is b else "a"], "holder", f"{holder.name} has the {kind}"
                )
            elif taker and a.place != b.place:
                self.note(
                    s.at["b"], "place", f"{b.name} is at the {b.place}, {a.name} at the {a.place}"
                )
        if taker and taker is not holder and len(taker.things) >= self.lexicon.hands:
            self.note(s.at["a" if taker is a else "b"], "holder", f"{taker.name} has no free hand")
        color = s.words["color"] if event == "found" else holder.things[kind]
        if holder and (taker or event == "lost"):
            del holder.things[kind]
        if taker:
            taker.things[kind] = color

    def ending(self, s: Sentence) -> None:
        w, at, a = s.words, s.at, self.world.get(s.words["a"])
        if a is None:
            self.note(at["a"], "ending", f"nobody is called {w['a']}")
            return
        held = a.things.get(w.get("kind"))
        if "kind" in w and not held:
            self.note(at["kind"], "ending", f"in the end {a.name} does not have the {w['kind']}")
            return
        for slot, truth in (("place", a.place), ("mood", a.mood), ("color", held)):
            if w.get(slot, truth) != truth:
                self.note(
                    at[slot],
                    "ending",
                    f"in the end the {slot} is {truth or 'not told'}, not {w[slot]}",
                )
        if s.key == "end_nothing" and a.things:
            self.note(
                at["a"], "ending", f"in the end {a.name} has the {' and the '.join(a.things)}"
            )


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


def read(text: str, lexicon: Lexicon = LEXICON) -> tuple[Report, list[Sentence]]:
    """Parse a text into its report and the sentences understood.

    Args: `text`, words separated by spaces; `lexicon`. Returns a `Report` as `parse` does, and the sentences that fit a
    template, in reading order. Derived in chapter 00. Source: ours.
    """
    tokens, reader, understood = text.split(), Reader(lexicon), []
    parts = sentences(tokens)
    for n, (start, part) in enumerate(parts):
        first, last = n == 0, n == len(parts) - 1
        s = match(part, start, [row for row in patterns(lexicon) if (row[0] == "opening") == first])
        if isinstance(s, int):
            reader.note(s, "grammar", f"no sentence goes on with {tokens[s]!r} here")
            continue
        understood.append(s)
        ends = s.key.startswith("end_")
        (reader.opening if first else reader.ending if ends else reader.event)(s)
        if ends and not last:
            reader.note(start, "ending", "the tale goes on after its end")
        if last and not ends:
            reader.note(start, "ending", "the tale has no end")
    events = len(parts) - 2
    if not parts:
        reader.note(0, "grammar", "there is no sentence")
    elif events < 1:
        reader.note(
            max(len(tokens) - 1, 0), "ending", "a tale needs an opening, an event and an end"
        )
    elif len(reader.world) > max(cast_sizes(lexicon, events)):
        reader.note(
            parts[-1][0],
            "ending",
            f"{events} events are too few for {len(reader.world)} characters",
        )
    return Report(tuple(sorted(reader.errors)), reader.events), understood


def parse(text: str, lexicon: Lexicon = LEXICON) -> Report:
    """Read a text as a tale and report each error with its token position and kind; never raises on bad text.

    Args: `text`, words separated by spaces; `lexicon`. Returns a `Report`: grammatical if and only if no error is of
    kind "grammar", consistent if and only if there is none at all. Derived in chapter 00. Source: ours.
    """
    return read(text, lexicon)[0]


def log_prob(text: str, lexicon: Lexicon = LEXICON) -> float:
    """Exact log-probability of a text under the law of tales, log p = - sum over decisions of log(number of options).

    The text fixes every decision, because templates are unambiguous; they are replayed through `narrate`.
    Args: `text`; `lexicon`. Returns nats given the number of events; -inf where the law gives no mass.
    Raises nothing. Derived in chapter 00. Source: ours.
    """
    report, understood = read(text, lexicon)
    if not report.consistent:
        return -math.inf
    nats = 0.0

    def replay(what, options):
        nonlocal nats
        nats += math.log(len(options))
        want = next(answers)
        return next(o for o in options if plain(o) == want)

    answers = decisions(understood)
    narrate(replay, report.events, lexicon)
    return -nats


def plain(option):
    """An option of `choose` with each character replaced by its name."""
    if isinstance(option, Character):
        return option.name
    return tuple(plain(x) for x in option) if isinstance(option, tuple) else option


def decisions(understood: list[Sentence]):
    """The decisions, in `narrate`'s order, that these sentences spell."""
    opening, *events, end = understood
    w = opening.words
    size = sum(slot.startswith("name") for slot in w)
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
            yield (topic, w.get("kind"))
        else:
            yield tuple(w[slot] for slot in ("a", "to", "mood", "kind", "b") if slot in w)
        if event == "found":
            yield w["color"]
        yield s.template
    yield from (end.words["a"], (end.key.removeprefix("end_"), end.words.get("kind")), end.template)
