"""Scorecards: texts that a model draws, measured over several seeds; validity of Tales is exact."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import torch

from ..models.base import Generation
from ..text.tales_parser import ERROR_TYPES, log_prob, parse, read, sentences
from ..text.tokenizers import Tokenizer, body
from . import diversity

Write = Callable[[int, torch.Generator], Generation]  # (count, rng) -> texts
CPU = torch.device("cpu")
PART = 128  # texts drawn at a time
REPEATS = 3  # texts drawn alone, for the latency
COPIES = 4  # length of the n-grams that are looked up in the training texts


@dataclass(frozen=True)
class Reference:
    """What texts are compared with."""

    tokenizer: Tokenizer
    tales: bool  # whether the grammar of Tales judges them
    training: np.ndarray | None = None  # n-grams of the training texts, of `training_grams`


def validity(texts: list[str]) -> dict[str, float]:
    """How many texts are tales, how many are consistent, and what is wrong with the others.

    Args:
        texts: The texts.

    Returns:
        Fractions "grammatical" and "consistent"; "error_TYPE", the fraction of texts with such an
        error; and, when a text is consistent, "exact_nats_per_token", the mean of -log p under the
        exact distribution over all words of such texts.
    """
    reports = [parse(text) for text in texts]
    types = Counter(name for report in reports for name in {e.type for e in report.errors})
    good = [text for text, report in zip(texts, reports) if report.consistent]
    scores = {
        "grammatical": fmean(report.grammatical for report in reports),
        "consistent": len(good) / len(texts),
        **{f"error_{name}": types[name] / len(texts) for name in ERROR_TYPES},
    }
    if good:
        words = sum(len(text.split()) for text in good)
        scores["exact_nats_per_token"] = -sum(map(log_prob, good)) / words
    return scores


def good_sentences(texts: list[str]) -> float:
    """The fraction of the sentences of texts that fit a template of the language.

    Args:
        texts: The texts.

    Returns:
        The fraction, 0 where there is no sentence.
    """
    understood = sum(len(read(text)[1]) for text in texts)
    return understood / max(sum(len(sentences(text.split())) for text in texts), 1)


def variety(rows: np.ndarray, vocab_size: int, training: np.ndarray | None) -> dict[str, float]:
    """Figures of `diversity` of texts.

    Args:
        rows: (rows, length) ids.
        vocab_size: Number of tokens.
        training: From `diversity.training_grams`, if copies count.

    Returns:
        Figures by name.
    """
    scores = {
        "unigram_entropy": diversity.unigram_entropy(rows),
        **{f"distinct_{n}": diversity.distinct(rows, n, vocab_size) for n in (1, 2, 3, 4)},
        "self_repetition": diversity.self_repetition(rows, COPIES, vocab_size),
    }
    if training is not None:
        scores["copied_4"] = diversity.copied(rows, training, COPIES, vocab_size)
    return scores


def latency(write: Write, device: torch.device) -> float:
    """Median time to draw one text alone, of REPEATS.

    Args:
        write: (count, rng) -> texts.
        device: Device of the random numbers.

    Returns:
        Seconds.
    """
    return median(write(1, torch.Generator(device).manual_seed(i)).seconds for i in range(REPEATS))


def measure(
    write: Write, reference: Reference, count: int, seed: int, device: torch.device = CPU
) -> dict[str, Any]:
    """One row of a scorecard: texts of one seed, drawn in parts of at most PART.

    Args:
        write: (count, rng) -> texts.
        reference: What texts are compared with.
        count: Number of texts.
        seed: Of the random numbers.
        device: Device of the random numbers.

    Returns:
        Figures by name.
    """
    rng = torch.Generator(device).manual_seed(seed)
    parts = [write(min(PART, count - i), rng) for i in range(0, count, PART)]
    rows = torch.cat([part.tokens for part in parts]).cpu().numpy()
    lengths = [len(body(row)) for row in rows]
    texts = [reference.tokenizer.decode(row) for row in rows]
    return {
        "seed": seed,
        "count": count,
        **(validity(texts) if reference.tales else {}),
        **variety(rows, reference.tokenizer.size, reference.training),
        "mean_tokens": fmean(lengths),
        "nfe": fmean(part.nfe for part in parts),
        "tokens_per_s": sum(lengths) / sum(part.seconds for part in parts),
    }


def scorecard(
    write: Write,
    reference: Reference,
    *,
    count: int = 512,
    seeds: int = 3,
    device: torch.device = CPU,
    origin: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure the texts that a model draws, over several seeds.

    Args:
        write: (count, rng) -> texts.
        reference: What texts are compared with.
        count: Number of texts of each seed.
        seeds: Number of seeds, from 0.
        device: Device of the random numbers.
        origin: What every row says of model, scorer, versions and commit.

    Returns:
        "rows", one a seed, "mean", and "spread", the standard deviation over seeds.
    """
    began = time.perf_counter()
    alone = {"latency_s": latency(write, device)}
    rows = [measure(write, reference, count, seed, device) | alone for seed in range(seeds)]
    names = [
        name
        for name, value in rows[0].items()
        if isinstance(value, float) and all(name in row for row in rows)
    ]
    return {
        "rows": [{**(origin or {}), **row} for row in rows],
        "mean": {name: fmean(row[name] for row in rows) for name in names},
        "spread": {
            name: stdev([row[name] for row in rows]) if seeds > 1 else 0.0 for name in names
        },
        "seconds": time.perf_counter() - began,
    }
