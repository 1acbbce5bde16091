"""Planted errors: put a wrong word into a right tale, let a model's sampler go on from there, and
see where the error goes.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.base import LanguageModel
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.masked import MaskedDiffusion
from ..text.corpora import pad_rows
from ..text.tales import LEXICON, split
from ..text.tales_parser import parse
from ..text.tokenizers import Tokenizer
from ..evaluation.chains import latent_chain

CLASSES = ("name", "species", "place", "color", "kind")


@dataclass(frozen=True)
class Plants:
    """Consistent tales, and for each one word to be replaced by another of its class, which makes
    it inconsistent.
    """

    tokens: Int[Tensor, "errors n"]  # the tales as they were
    position: Int[Tensor, " errors"]
    word: Int[Tensor, " errors"]  # the planted word
    word_class: list[str]
    noticed: Int[
        Tensor, " errors"
    ]  # where the sentence ends in which a reader of the damaged tale first sees a contradiction

    @property
    def original(self) -> Int[Tensor, " errors"]:
        """The words that stood there."""
        return self.tokens.gather(1, self.position[:, None])[:, 0]

    @property
    def damaged(self) -> Int[Tensor, "errors n"]:
        """The tales with their planted words."""
        return self.tokens.scatter(1, self.position[:, None], self.word[:, None])


def plants(
    tokenizer: Tokenizer, count: int, length: int, rng: random.Random, before: int | None = None
) -> Plants:
    """Draw errors to plant, each in a test tale of its own: a word of CLASSES is replaced so that
    the tale contradicts itself.

    Args:
        tokenizer: Of words.
        count: How many.
        length: Of a row.
        rng: Generator of the random numbers.
        before: The positions in question, by default all.

    Returns:
        `Plants`.
    """
    texts, found = iter(split("test", 2 * count)), []
    while len(found) < count:
        words = next(texts).split()
        spots = [
            (i, c) for i, word in enumerate(words) for c in CLASSES if word in getattr(LEXICON, c)
        ]
        spots = [(i, c) for i, c in spots if before is None or i + 1 < before]
        if len(words) > length - 2 or not spots:
            continue
        i, word_class = rng.choice(spots)
        other = rng.choice([word for word in getattr(LEXICON, word_class) if word != words[i]])
        report = parse(" ".join([*words[:i], other, *words[i + 1 :]]))
        if not report.consistent:
            found.append(
                (
                    tokenizer.encode(" ".join(words)),
                    i + 1,
                    tokenizer.encode(other)[0],
                    word_class,
                    words.index(".", report.errors[0].position) + 1,
                )
            )
    documents, position, word, word_class, noticed = zip(*found)
    return Plants(
        torch.from_numpy(pad_rows(list(documents), length, tokenizer)),
        torch.tensor(position),
        torch.tensor(word),
        list(word_class),
        torch.tensor(noticed),
    )


@singledispatch
def finish(
    model: LanguageModel,
    tokens: Int[Tensor, "batch n"],
    position: Int[Tensor, " batch"],
    t: float,
    steps: int,
    seed: int,
) -> Int[Tensor, "batch n"]:
    """What the sampler makes of texts from time t on; equal seeds draw equal noise, so that two
    runs can be compared.

    GPT: the first t n words are given, the others are written anew. Masked: each word is visible
    with probability t, that at `position` always. LDLM: the latents of the text, noised to time t,
    flow on.

    Args:
        model: The model.
        tokens: (batch, n).
        position: (batch,), of the word in question, below t n for GPT.
        t: Time, a scalar or (batch,).
        steps: Of the sampler from 0 to 1.
        seed: Seed of the random numbers.

    Returns:
        Tokens (batch, n).
    """
    raise NotImplementedError(f"no sampler of {type(model).__name__} to go on with")


@finish.register
def _(model: GPT, tokens, position, t, steps, seed):
    prefix = tokens[:, : given(t, tokens.shape[1])]
    return model.generate(
        len(tokens),
        rng=torch.Generator(model.device).manual_seed(seed),
        length=tokens.shape[1],
        prompt=prefix,
    ).tokens


@finish.register
def _(model: MaskedDiffusion, tokens, position, t, steps, seed):
    rng = torch.Generator(model.device).manual_seed(seed)
    hidden = torch.rand(tokens.shape, generator=rng, device=tokens.device) >= t
    hidden = hidden.scatter(1, position[:, None], False)
    return model.generate(
        len(tokens),
        rng=rng,
        steps=max(round(steps * (1 - t)), 1),
        length=tokens.shape[1],
        prompt=tokens,
        mask=hidden,
    ).tokens


@finish.register
@torch.no_grad()
def _(model: LDLM, tokens, position, t, steps, seed):
    z1 = model.encode(model.hidden(tokens))
    z0 = torch.randn(
        z1.shape, generator=torch.Generator(model.device).manual_seed(seed), device=z1.device
    )
    grid = model.time.warp(torch.linspace(0, 1, steps + 1, device=z1.device)).clamp(0, 1)
    times = torch.cat((grid.new_tensor([t]), grid[grid > t]))
    zt = model.schedule.a(times[0]) * z1 + model.schedule.b(times[0]) * z0
    chain = latent_chain(model, zt, times, tokens.shape[1])
    return chain.words(chain.run().states[-1])


def given(t: float, n: int) -> int:
    """How many words of a text GPT has at time t: the share t, <bos> at least."""
    return max(math.ceil(t * n), 1)


@dataclass(frozen=True)
class Outcomes:
    """What became of planted errors, one entry an error, and of the same runs without the error."""

    position: Int[Tensor, " errors"]
    replaced: Bool[Tensor, " errors"]  # the planted word is gone
    restored: Bool[Tensor, " errors"]  # the original word is back
    consistent: Bool[Tensor, " errors"]  # the finished tale is right
    consistent_without: Bool[Tensor, " errors"]  # that of the run without the error is
    diverged: Int[Tensor, " errors"]  # words elsewhere that differ between the two runs
    rewritten: Float[
        Tensor, " errors"
    ]  # share of the words elsewhere that the run without the error changed


def plant_and_finish(
    model: LanguageModel, tokenizer: Tokenizer, errors: Plants, t: float, steps: int, seed: int
) -> Outcomes:
    """Let a model go on from time t with the errors and without them, under equal noise.

    Args: `model`; `tokenizer`; `errors`; `t`, `steps`, `seed` as for `finish`. Returns `Outcomes`.
    Derived in chapter 09. Source: ours.
    """
    tokens, at = errors.tokens, errors.position[:, None]
    bad, good = (
        finish(model, x, errors.position, t, steps, seed) for x in (errors.damaged, tokens)
    )
    there = bad.gather(1, at)[:, 0]
    elsewhere = torch.ones_like(tokens, dtype=torch.bool).scatter(1, at, False)

    def right(rows: Tensor) -> Tensor:
        return torch.tensor([parse(tokenizer.decode(row.tolist())).consistent for row in rows])

    return Outcomes(
        errors.position,
        there != errors.word,
        there == errors.original,
        right(bad),
        right(good),
        ((bad != good) & elsewhere).sum(1),
        ((good != tokens) & elsewhere).sum(1) / elsewhere.sum(1),
    )


def heat(
    outcomes: list[Outcomes], value: Callable[[Outcomes], Tensor], edges: list[int]
) -> list[list[float | None]]:
    """Means by position and time, ready for a heat map and for JSON.

    Args:
        outcomes: One for each time.
        value: One of their fields.
        edges: Of the bins of position, ascending.

    Returns:
        Rows, one a bin, of a mean a time, None where no error was planted.
    """

    def mean(o: Outcomes, low: int, high: int) -> float | None:
        here = value(o)[(o.position >= low) & (o.position < high)].float()
        return here.mean().item() if len(here) else None

    return [[mean(o, low, high) for o in outcomes] for low, high in pairwise(edges)]
