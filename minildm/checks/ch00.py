"""Checks of chapter 00: counting nats, pooling perplexity, coefficients of a schedule, planting an
error.
"""

import math
import random

import torch

from ..text import tales
from ..text.tales_parser import parse
from .verdict import Must, exercise


@exercise(
    "00.1",
    hints=(
        "how likely is one decision among n options, and how likely are two decisions in a row?",
        "a logarithm turns the product over decisions into a sum over decisions",
        "each decision contributes the logarithm of its own probability, which is below one: mind the sign",
    ),
)
def check_1():
    """Tales told at random: the counts of their decisions, and their exact log-probability."""
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
    """Texts that are all as surprising as a choice among `options` equally likely words; then of
    two kinds.
    """
    rng = torch.Generator().manual_seed(2)
    for options in range(2, 12):
        lengths = torch.randint(1, 60, (options,), generator=rng).double()
        yield (
            (lengths * torch.tensor(float(options), dtype=torch.float64).log(), lengths),
            float(options),
        )
    two, eight = torch.tensor([2.0, 8.0], dtype=torch.float64).log()
    lengths = torch.tensor([10.0, 30.0], dtype=torch.float64)
    yield (torch.stack([10 * two, 30 * eight]), lengths), float(2**0.25 * 8**0.75)


@exercise(
    "00.3",
    hints=(
        "what are the quotient and the sum of a^2 and b^2?",
        "two equations, two unknowns: a^2 is a well-known S-shaped function of lambda",
        "get b^2 from the same function at another argument: a difference of nearly equal numbers has no digits left",
    ),
)
def check_3():
    """Angles of the unit circle give both sides: a = sin, b = cos, lambda = 2 log tan; then far
    out, where one is tiny.
    """
    rng = torch.Generator().manual_seed(3)
    for shape in ((1,), (7,), (2, 3), (4, 1, 5), (50,)):
        angle = 0.02 + 1.53 * torch.rand(shape, generator=rng, dtype=torch.float64)
        yield (2 * torch.tan(angle).log(),), (torch.sin(angle), torch.cos(angle))
    for log_snr in (12.0, 30.0, 60.0):
        large, small = (
            1 / math.sqrt(1 + math.exp(-log_snr)),
            math.exp(-log_snr / 2) / math.sqrt(1 + math.exp(-log_snr)),
        )
        yield (
            (torch.tensor([log_snr], dtype=torch.float64),),
            (torch.tensor([large]), torch.tensor([small])),
        )
        yield (
            (torch.tensor([-log_snr], dtype=torch.float64),),
            (torch.tensor([small]), torch.tensor([large])),
        )
    ends = torch.tensor([-800.0, 800.0], dtype=torch.float64)
    yield (
        (ends,),
        (
            torch.tensor([0.0, 1.0], dtype=torch.float64),
            torch.tensor([1.0, 0.0], dtype=torch.float64),
        ),
    )


@exercise(
    "00.4",
    hints=(
        "which sentence of a tale says again what earlier sentences have settled?",
        "the last sentence is about a place, a mood, a thing, a color or empty hands: which word would make it untrue?",
        "`parse` reports both properties of a text: let it judge one candidate after another",
    ),
)
def check_4():
    """Tales of every split and length; what comes back must be one word away, grammatical and not
    consistent.
    """
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
