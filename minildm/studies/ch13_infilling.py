"""The README's example of infilling: how often each model fills the gaps of a tale consistently."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..models.generation import GenerationConfig
from ..pretrained import load
from ..sampling.sampler import Sampler
from ..text.tokenizers import Tokenizer
from ..tokens import BOS, EOS, MASK, PAD
from .common import generator, scores
from .record import Record

SEEDS = 3
GAP = "____"
WORDS = (
    "once at the castle there lived ____ tess the ____ and ____ ben the ____ . tess the ____ found "
    "a ____ ____ . tess gave ben the ____ ____ . ben became ____ . in the end ben was ____ ."
)  # one gap a word
SPANS = "once at the castle there lived ____ . in the end ____ ."  # nobody says how long
GAPS = {"words": (WORDS, [1] * 11), "spans": (SPANS, [18, 17])}  # texts, tokens of their gaps
WAYS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("words", "masked-tales", {"solver": "confidence", "steps": 11}),  # a word a step
    ("words", "manta-tales", {}),
    ("spans", "manta-tales", {}),
)


def with_gaps(text: str, sizes: Sequence[int], tokenizer: Tokenizer, length: int) -> Tensor:
    """A text with gaps of these sizes as one row of tokens, with <mask> in the gaps."""
    first, *rest = text.split(GAP)
    row = [BOS, *tokenizer.encode(first)]
    for size, piece in zip(sizes, rest):
        row += [MASK] * size + tokenizer.encode(piece)
    return torch.tensor([[*row, EOS] + [PAD] * (length - len(row) - 1)])


def run(out: Path = Path("runs/ch13_infilling.json"), count: int = 128) -> None:
    """How often each model fills the gaps of the README's example consistently.

    Args:
        out: File of the record.
        count: Tales of each row.
    """
    record = Record(out)
    for gaps, name, asked in WAYS:
        loaded = load(name)
        text, sizes = GAPS[gaps]
        row = with_gaps(text, sizes, loaded.tokenizer, loaded.model.config.seq_len)
        sampler = Sampler(loaded.model, GenerationConfig(**asked))
        for seed in range(SEEDS):
            case = {"model": name, **asked, "gaps": gaps, "text": text, "seed": seed}
            if case in record:
                continue
            made = sampler(count, rng=generator(seed), prompt=row, observed=row != MASK)
            found = scores(loaded.tokenizer, made.tokens)
            figures = {name: found[name] for name in ("grammatical", "consistent")}
            record.add(case | {"count": count, **figures})
