"""Scorecards: what a model writes, measured over several seeds; validity of Tales is exact."""

import time
from collections import Counter
from collections.abc import Callable
from statistics import fmean, median, stdev

import numpy as np
import torch

from ..models.base import Generation
from ..text.tales_parser import ERROR_KINDS, log_prob, parse, read, sentences
from ..text.tokenizers import Tokenizer, body
from . import diversity

Write = Callable[[int, torch.Generator], Generation]  # (count, rng) -> texts
PART = 128  # texts written at a time
REPEATS = 3  # texts written alone, for the latency
COPIES = 4  # length of the n-grams that are looked up in the training texts


def validity(texts: list[str]) -> dict[str, float]:
    """How many texts are tales, how many are true to themselves, and what is wrong with the others.

    Args:
        texts: The texts.

    Returns:
        Shares "grammatical" and "consistent"; "error_KIND", the share of texts with such an error;
        and, when a text is consistent, "law_nats_per_token", -log p under the exact law over all
        words of such texts.
    """
    reports = [parse(text) for text in texts]
    kinds = Counter(kind for report in reports for kind in {e.kind for e in report.errors})
    good = [text for text, report in zip(texts, reports) if report.consistent]
    scores = {
        "grammatical": fmean(report.grammatical for report in reports),
        "consistent": len(good) / len(texts),
        **{f"error_{kind}": kinds[kind] / len(texts) for kind in ERROR_KINDS},
    }
    if good:
        scores["law_nats_per_token"] = -sum(map(log_prob, good)) / sum(
            len(text.split()) for text in good
        )
    return scores


def good_sentences(texts: list[str]) -> float:
    """Share of the sentences of texts that fit a template of the language.

    Args:
        texts: The texts.

    Returns:
        A share, 0 where there is no sentence.
    """
    understood = sum(len(read(text)[1]) for text in texts)
    return understood / max(sum(len(sentences(text.split())) for text in texts), 1)


def variety(rows: np.ndarray, vocabulary: int, training: np.ndarray | None) -> dict[str, float]:
    """Figures of `diversity` for written texts.

    Args:
        rows: (rows, length), ids.
        vocabulary: Size.
        training: From `diversity.training_grams`, if copies count.

    Returns:
        Figures by name.
    """
    scores = {
        "unigram_entropy": diversity.unigram_entropy(rows),
        **{f"distinct_{n}": diversity.distinct(rows, n, vocabulary) for n in (1, 2, 3, 4)},
        "self_repetition": diversity.self_repetition(rows, COPIES, vocabulary),
    }
    if training is not None:
        scores["copied_4"] = diversity.copied(rows, training, COPIES, vocabulary)
    return scores


def latency(write: Write, device: torch.device, repeats: int = REPEATS) -> float:
    """Median seconds to write one text alone.

    Args: `write`, (count, rng) -> texts; `device`; `repeats`. Returns seconds. Derived in chapter 15. Source: ours.
    """
    return median(write(1, torch.Generator(device).manual_seed(i)).seconds for i in range(repeats))


def measure(
    write: Write,
    tokenizer: Tokenizer,
    tales: bool,
    training: np.ndarray | None,
    count: int,
    seed: int,
    device: torch.device,
) -> dict[str, float | int]:
    """One row of a scorecard: `count` texts of one seed, written in parts of at most PART."""
    rng = torch.Generator(device).manual_seed(seed)
    parts = [write(min(PART, count - i), rng) for i in range(0, count, PART)]
    rows = torch.cat([p.tokens for p in parts]).cpu().numpy()
    words = [body(row) for row in rows]
    texts = [tokenizer.decode(row) for row in rows]
    return {
        "seed": seed,
        "count": count,
        **(validity(texts) if tales else {}),
        **variety(rows, tokenizer.size, training),
        "mean_tokens": fmean(map(len, words)),
        "calls": fmean(p.calls for p in parts),
        "tokens_per_s": sum(map(len, words)) / sum(p.seconds for p in parts),
    }


def scorecard(
    write: Write,
    tokenizer: Tokenizer,
    *,
    tales: bool,
    training: np.ndarray | None = None,
    count: int = 512,
    seeds: int = 3,
    device: torch.device = torch.device("cpu"),
    origin: dict | None = None,
) -> dict:
    """Measure what a model writes over several seeds.

    Args:
        write: (count, rng) -> texts.
        tokenizer: The tokenizer.
        tales: : judge texts by the Tales law.
        training: From `diversity.training_grams`.
        count: Of texts a seed.
        seeds: How many, from 0.
        device: Device of the result.
        origin: What every row should carry (model, scorer, dtype, versions, commit).

    Returns:
        "rows", one a seed, "mean", and "spread", the standard deviation over seeds.
    """
    began = time.perf_counter()
    alone = latency(write, device)
    rows = [
        measure(write, tokenizer, tales, training, count, seed, device) | {"latency_s": alone}
        for seed in range(seeds)
    ]
    names = [
        k for k, v in rows[0].items() if isinstance(v, float) and all(k in row for row in rows)
    ]
    return {
        "rows": [{**(origin or {}), **row} for row in rows],
        "mean": {k: fmean(row[k] for row in rows) for k in names},
        "spread": {k: stdev([row[k] for row in rows]) if seeds > 1 else 0.0 for k in names},
        "seconds": time.perf_counter() - began,
    }
