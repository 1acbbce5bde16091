"""Planted errors: a wrong word in a right tale, and what a model's sampler makes of it."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.base import LanguageModel
from ..models.generation import GenerationConfig
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.masked import MaskedDiffusion
from ..sampling.relaxed import relaxed_latents
from ..sampling.sampler import Sampler
from ..text.corpora import pad_rows
from ..text.tales import LEXICON, split
from ..text.tales_parser import parse
from ..text.tokenizers import Tokenizer
from ..transport.grids import warped_grid
from .common import SMALL_MODELS, small_model
from .record import Record

CLASSES = ("name", "species", "place", "color", "thing")
TIMES = (0.15, 0.3, 0.45, 0.6, 0.75)  # of planting
EDGES = [1, 9, 17, 25, 33, 41, 64]  # bins of positions
STEPS = 32  # from noise to text


@dataclass(frozen=True)
class Plants:
    """Consistent tales, each with one word whose replacement makes it contradict itself."""

    tokens: Int[Tensor, "errors n"]  # the tales as they were
    position: Int[Tensor, " errors"]  # of the planted word
    word: Int[Tensor, " errors"]  # the planted word
    word_class: list[str]
    noticed: Int[Tensor, " errors"]  # end of the first sentence that shows the contradiction

    @property
    def original(self) -> Int[Tensor, " errors"]:
        """The words that stood there."""
        return self.tokens.gather(1, self.position[:, None])[:, 0]

    @property
    def damaged(self) -> Int[Tensor, "errors n"]:
        """The tales with their planted words."""
        return self.tokens.scatter(1, self.position[:, None], self.word[:, None])


def replacement(
    words: list[str], before: int | None, rng: random.Random
) -> tuple[int, str, str] | None:
    """A place of a tale, another word of the class of its word, and the class, drawn evenly."""
    spots = [(i, c) for i, word in enumerate(words) for c in CLASSES if word in getattr(LEXICON, c)]
    spots = [(i, c) for i, c in spots if before is None or i + 1 < before]
    if not spots:
        return None
    i, word_class = rng.choice(spots)
    others = [word for word in getattr(LEXICON, word_class) if word != words[i]]
    return i, rng.choice(others), word_class


def plants(
    tokenizer: Tokenizer, count: int, length: int, rng: random.Random, before: int | None = None
) -> Plants:
    """Draw errors to plant, each in a test tale of its own, which then contradicts itself.

    Args:
        tokenizer: Of words.
        count: Number of errors.
        length: Of a row in tokens.
        rng: Generator of places and words.
        before: Positions from here on are left alone, by default none.

    Returns:
        The errors with their tales.
    """
    texts = iter(split("test", 2 * count))
    found = []
    while len(found) < count:
        words = next(texts).split()
        if len(words) > length - 2 or (drawn := replacement(words, before, rng)) is None:
            continue
        i, other, word_class = drawn
        report = parse(" ".join([*words[:i], other, *words[i + 1 :]]))
        if not report.consistent:
            document = tokenizer.encode(" ".join(words))
            noticed = words.index(".", report.errors[0].position) + 1
            found.append((document, i + 1, tokenizer.encode(other)[0], word_class, noticed))
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
    """Texts that the sampler makes of given ones from time t on; equal seeds draw equal noise.

    GPT: the first t n tokens are given, and the others are drawn anew. Masked diffusion: each token
    is visible with probability t, that at `position` always. LDLM: the latents of the text, noised
    to time t, flow on.

    Args:
        model: A GPT, a masked model or an LDLM.
        tokens: Token ids (batch, n).
        position: Of the token in question (batch,), for a GPT below t n.
        t: The time.
        steps: Steps of the sampler from 0 to 1.
        seed: Seed of the random numbers.

    Returns:
        Token ids (batch, n).
    """
    raise NotImplementedError(f"no sampler of {type(model).__name__} to go on with")


@finish.register
def _(model: GPT, tokens, position, t, steps, seed):
    length = tokens.shape[1]
    rng = torch.Generator(model.device).manual_seed(seed)
    prefix = tokens[:, : prefix_length(t, length)]
    sampler = Sampler(model, GenerationConfig(length=length))
    return sampler(len(tokens), rng=rng, prompt=prefix).tokens


@finish.register
def _(model: MaskedDiffusion, tokens, position, t, steps, seed):
    rng = torch.Generator(model.device).manual_seed(seed)
    observed = torch.rand(tokens.shape, generator=rng, device=tokens.device) < t
    observed = observed.scatter(1, position[:, None], True)
    config = GenerationConfig(steps=max(round(steps * (1 - t)), 1), length=tokens.shape[1])
    return Sampler(model, config)(len(tokens), rng=rng, prompt=tokens, observed=observed).tokens


@finish.register
@torch.no_grad()
def _(model: LDLM, tokens, position, t, steps, seed):
    z1 = model.encode(model.hidden(tokens))
    rng = torch.Generator(model.device).manual_seed(seed)
    z0 = torch.randn(z1.shape, generator=rng, device=z1.device)
    grid = warped_grid(model.time, steps, z1.device)
    times = torch.cat((grid.new_tensor([t]), grid[grid > t]))
    zt = model.schedule.a(times[0]) * z1 + model.schedule.b(times[0]) * z0
    process = relaxed_latents(model, zt, times, tokens.shape[1])
    return process.decode(process.run().states[-1])


def prefix_length(t: float, n: int) -> int:
    """The number of tokens that a GPT has written at time t: a fraction t of n, at least <bos>."""
    return max(math.ceil(t * n), 1)


@dataclass(frozen=True)
class Outcomes:
    """What became of planted errors, one entry an error, and of the same runs without the error."""

    position: Int[Tensor, " errors"]
    replaced: Bool[Tensor, " errors"]  # the planted word is gone
    restored: Bool[Tensor, " errors"]  # the original word is back
    consistent: Bool[Tensor, " errors"]  # the finished tale is consistent
    consistent_without: Bool[Tensor, " errors"]  # that of the run without the error is
    diverged: Int[Tensor, " errors"]  # number of words elsewhere that differ between the runs
    rewritten: Float[Tensor, " errors"]  # fraction of words elsewhere changed without the error


def plant_and_finish(
    model: LanguageModel, tokenizer: Tokenizer, errors: Plants, t: float, steps: int, seed: int
) -> Outcomes:
    """Let a model go on from time t with the errors and without them, under equal noise.

    Args:
        model: A GPT, a masked model or an LDLM.
        tokenizer: Of words.
        errors: The errors.
        t: Time of planting.
        steps: Steps of the sampler from 0 to 1.
        seed: Seed of the random numbers.

    Returns:
        What became of each error.

    Derived in chapter 09.
    """
    tokens = errors.tokens
    at = errors.position[:, None]
    bad = finish(model, errors.damaged, errors.position, t, steps, seed)
    good = finish(model, tokens, errors.position, t, steps, seed)
    there = bad.gather(1, at)[:, 0]
    elsewhere = torch.ones_like(tokens, dtype=torch.bool).scatter(1, at, False)

    def consistent(rows: Tensor) -> Tensor:
        return torch.tensor([parse(tokenizer.decode(row)).consistent for row in rows.tolist()])

    return Outcomes(
        errors.position,
        there != errors.word,
        there == errors.original,
        consistent(bad),
        consistent(good),
        ((bad != good) & elsewhere).sum(1),
        ((good != tokens) & elsewhere).sum(1) / elsewhere.sum(1),
    )


def binned_means(
    outcomes: list[Outcomes], value: Callable[[Outcomes], Tensor], edges: list[int]
) -> list[list[float | None]]:
    """Means by bins of position and by time, for an image and for JSON.

    Args:
        outcomes: One for each time.
        value: Picks one of their fields.
        edges: Edges of the bins, ascending.

    Returns:
        For each bin a mean for each time, None where no error was planted.
    """

    def mean(o: Outcomes, low: int, high: int) -> float | None:
        here = value(o)[(o.position >= low) & (o.position < high)].float()
        return here.mean().item() if len(here) else None

    return [[mean(o, low, high) for o in outcomes] for low, high in pairwise(edges)]


def figures(outcomes: list[Outcomes]) -> dict[str, Any]:
    """Means of all fields by position and time, and by time alone."""
    fields = [name for name in vars(outcomes[0]) if name != "position"]

    by_time = {name: [getattr(o, name).float().mean().item() for o in outcomes] for name in fields}
    count = [
        [int(((o.position >= low) & (o.position < high)).sum()) for o in outcomes]
        for low, high in pairwise(EDGES)
    ]
    maps = {name: binned_means(outcomes, attrgetter(name), EDGES) for name in fields}
    return {**maps, "count": count, "by_time": by_time}


def figures_of_settled(outcomes: list[Outcomes], settled: list[Tensor]) -> dict[str, Any]:
    """Consistent tales of a GPT whose prefix holds the contradiction already, and of the others."""
    pairs = list(zip(outcomes, settled))
    return {
        "settled": [int(seen.sum()) for seen in settled],
        "consistent_settled": [int(o.consistent[seen].sum()) for o, seen in pairs],
        "consistent_open": [o.consistent[~seen].float().mean().item() for o, seen in pairs],
    }


def run(out: Path = Path("runs/ch09_planted_errors.json"), count: int = 256) -> None:
    """Whether planted errors are replaced, restored or kept, by time, position and model.

    Args:
        out: File of the record.
        count: Errors at each of 5 times for each model.
    """
    record = Record(out, edges=EDGES, times=TIMES, planted=count * len(TIMES), steps=STEPS)
    for model_type in SMALL_MODELS:
        if {"model": model_type} in record:
            continue
        loaded = small_model(model_type)
        length = loaded.model.config.seq_len
        outcomes = []
        settled = []
        for i, t in enumerate(TIMES):
            prefix = prefix_length(t, length)
            before = prefix if loaded.model.causal else None
            planted = plants(loaded.tokenizer, count, length, random.Random(i), before)
            with torch.autocast("cpu", torch.bfloat16):
                found = plant_and_finish(loaded.model, loaded.tokenizer, planted, t, STEPS, i)
            outcomes.append(found)
            settled.append(planted.noticed < prefix)
        row = {"model": model_type, **figures(outcomes)}
        if loaded.model.causal:
            row |= figures_of_settled(outcomes, settled)
        record.add(row)
