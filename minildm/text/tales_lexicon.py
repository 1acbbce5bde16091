"""The words of the Tales language, and the templates of its sentences."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lexicon:
    """The open word classes of a Tales language; small ones give languages one can enumerate."""

    name: tuple[str, ...]
    species: tuple[str, ...]
    trait: tuple[str, ...]
    place: tuple[str, ...]
    color: tuple[str, ...]
    thing: tuple[str, ...]
    mood: tuple[str, ...]
    cast: tuple[int, ...] = (2, 3, 4)  # possible numbers of characters, never more than events
    hands: int = 2  # things a character can hold

    def classes(self) -> tuple[tuple[str, ...], ...]:
        """All word classes."""
        return (
            self.name,
            self.species,
            self.trait,
            self.place,
            self.color,
            self.thing,
            self.mood,
        )


LEXICON = Lexicon(
    name=tuple(
        "ada ben cleo dan ella finn gus hana ivan june kim leo mia nora otto pia quinn rosa sam "
        "tess uma vera will xena yara zoe abel bella carl dora emil fay greta hugo iris jack "
        "kai lola max nell".split()
    ),
    species=tuple(
        "fox owl bear wolf hare deer frog duck goose mole mouse otter beaver badger squirrel "
        "hedgehog cat dog pony goat sheep crow robin swan toad lynx seal crab snail turtle "
        "lizard sparrow".split()
    ),
    trait=tuple(
        "shy bold kind sly wise young old tall small brave clever gentle loud quiet quick slow "
        "lazy merry proud polite rude honest greedy curious careful clumsy stubborn humble "
        "noisy neat messy strong".split()
    ),
    place=tuple(
        "forest meadow village castle garden harbor market mill barn cave lake river bridge "
        "hill valley desert island tower temple school kitchen cellar library stable orchard "
        "swamp field beach port inn camp palace".split()
    ),
    color=tuple(
        "red blue green yellow white black brown pink purple ruby gray golden silver violet "
        "crimson teal".split()
    ),
    thing=tuple(
        "ball hat cup drum flute lamp key coin ring book map rope kite boat bell box basket "
        "blanket bottle broom brush candle chair clock comb crown doll fan feather flag glove "
        "hammer jar ladder mask mirror needle pearl pen pot ribbon scarf shell shoe spoon stone "
        "umbrella whistle".split()
    ),
    mood=tuple(
        "happy sad angry calm tired hungry thirsty sleepy lonely afraid jealous grateful "
        "hopeful worried excited bored confused surprised cheerful gloomy".split()
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
        "{a} found a {color} {thing} .",
        "{a} the {species} found a {color} {thing} .",
        "at the {place} {a} found a {color} {thing} .",
    ),
    "lost": (
        "{a} lost the {color} {thing} .",
        "{a} the {species} lost the {color} {thing} .",
        "at the {place} {a} lost the {color} {thing} .",
    ),
    "gave": (
        "{a} gave the {color} {thing} to {b} .",
        "{a} gave {b} the {color} {thing} .",
        "{b} got the {color} {thing} from {a} .",
    ),
    "took": (
        "{a} took the {color} {thing} from {b} .",
        "{a} the {species} took the {color} {thing} from {b} .",
    ),
    "wanted": (
        "{a} wanted the {color} {thing} of {b} .",
        "{a} hoped to get the {color} {thing} of {b} .",
    ),
    "became": (
        "{a} became {mood} .",
        "{a} the {species} felt {mood} .",
        "at the {place} {a} grew {mood} .",
    ),
    "said_place": ('{a} said " i am at the {place} " .',),
    "said_thing": (
        '{a} said " i have the {color} {thing} " .',
        '" the {color} {thing} is mine " said {a} .',
    ),
    "said_mood": ('{a} said " i feel {mood} " .', '" i am {mood} " said {a} .'),
    "end_place": ("in the end {a} was at the {place} .",),
    "end_thing": ("in the end {a} had the {color} {thing} .",),
    "end_nothing": ("in the end {a} had nothing .",),
    "end_mood": ("in the end {a} was {mood} .",),
}
# Who holds the thing of an event before it, and who takes it, as slots of the sentence.
OWNER = {"lost": "a", "gave": "a", "took": "b", "wanted": "b", "said": "a"}
TAKER = {"found": "a", "gave": "b", "took": "a"}
