"""Checks of chapter 00: nats of a tale, perplexity, coefficients of a schedule, a false word."""

import math
import random

import torch

from ..text import tales
from ..text.tales_parser import parse
from .draws import double, rand
from .verdict import Must, exercise


@exercise(
    "00.1",
    hints=(
        "how likely is one decision among n options, and how likely are two decisions in a row?",
        "a logarithm turns the product over decisions into a sum over decisions",
        "each decision adds the logarithm of its probability, which is below one: mind the sign",
    ),
)
def check_1():
    """Random tales: the counts of their decisions, and their exact log-probability."""
    for seed in range(20):
        counts: list[int] = []

        def choose(_, options, counts=counts, rng=random.Random(seed)):
            counts.append(len(options))
            return options[rng.randrange(len(options))]

        tales.narrate(choose, 1 + seed % 5)
        yield (counts,), tales.sample(random.Random(seed), 1 + seed % 5).log_prob


@exercise(
    "00.2",
    hints=(
        "if one text is three times as long as another, how much more should it count?",
        "find first what one word costs in nats, over all texts together",
        "both arguments are summed over the texts before anything else is done with them",
    ),
)
def check_2():
    """Texts as surprising as a choice among `options` equally likely words; then a mixture."""
    rng = torch.Generator().manual_seed(2)
    for options in range(2, 12):
        lengths = torch.randint(1, 60, (options,), generator=rng).double()
        yield (
            (lengths * torch.tensor(float(options), dtype=torch.float64).log(), lengths),
            float(options),
        )
    two, eight = double(2.0, 8.0).log()
    lengths = double(10.0, 30.0)
    yield (torch.stack([10 * two, 30 * eight]), lengths), float(2**0.25 * 8**0.75)


@exercise(
    "00.3",
    hints=(
        "what are the quotient and the sum of a^2 and b^2?",
        "two equations, two unknowns: a^2 is a well-known S-shaped function of lambda",
        "get b^2 from the same function at another argument: in 1 - a^2 all digits may cancel",
    ),
)
def check_3():
    """Angles give a = sin, b = cos, lambda = 2 log tan; then far out, where one is tiny."""
    rng = torch.Generator().manual_seed(3)
    for shape in ((1,), (7,), (2, 3), (4, 1, 5), (50,)):
        angle = 0.02 + 1.53 * rand(rng, *shape)
        yield (2 * torch.tan(angle).log(),), (torch.sin(angle), torch.cos(angle))
    for log_snr in (12.0, 30.0, 60.0):
        large = 1 / math.sqrt(1 + math.exp(-log_snr))
        small = math.exp(-log_snr / 2) * large
        yield (
            (double(log_snr),),
            (torch.tensor([large]), torch.tensor([small])),
        )
        yield (
            (double(-log_snr),),
            (torch.tensor([small]), torch.tensor([large])),
        )
    ends = double(-800.0, 800.0)
    yield (
        (ends,),
        (
            double(0.0, 1.0),
            double(1.0, 0.0),
        ),
    )


@exercise(
    "00.4",
    hints=(
        "which sentence of a tale says again what earlier sentences have settled?",
        "the last sentence names a place, a mood, a thing or a color: which word makes it untrue?",
        "`parse` reports both properties of a text: let it judge one candidate after another",
    ),
)
def check_4():
    """The tale that comes back must differ in one word, be grammatical and not consistent."""
    for seed in range(20):
        text = tales.split("test", 1, events=2 + seed % 4, seed=seed)[0]

        def planted(got, text=text):
            if not isinstance(got, str) or len(got.split()) != len(text.split()):
                return False
            changed = sum(x != y for x, y in zip(got.split(), text.split()))
            report = parse(got)
            return changed == 1 and report.grammatical and not report.consistent

        yield (
            (text,),
            Must("this tale with one word replaced, grammatical but not consistent", planted),
        )
