"""Diversity of texts: how many tokens, how often the same, and how much is copied."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..tokens import EOS, NUM_SPECIALS


def bodies(rows: np.ndarray) -> np.ndarray:
    """Rows of tokens with everything from the first <eos> on set to padding.

    Args:
        rows: (rows, length) ids.

    Returns:
        (rows, length) int64.
    """
    rows = np.asarray(rows, dtype=np.int64)
    return np.where(np.cumsum(rows == EOS, axis=1) > 0, 0, rows)


def grams(rows: np.ndarray, n: int, vocab_size: int) -> list[np.ndarray]:
    """The n-grams of each row, runs of n tokens with no special token among them, as numbers.

    sum_i w_i V^(n-i)

    Args:
        rows: w, (rows, length) ids.
        n: Length of a run.
        vocab_size: V.

    Returns:
        One int64 array a row.
    """
    runs = sliding_window_view(np.asarray(rows, dtype=np.int64), n, axis=1)
    codes = runs @ vocab_size ** np.arange(n - 1, -1, -1)
    plain = np.asarray((runs >= NUM_SPECIALS).all(-1))
    return [code[keep] for code, keep in zip(codes, plain)]


def unigram_entropy(rows: np.ndarray) -> float:
    """Entropy of the tokens inside a text, averaged over texts.

    H = - sum_w p_w log p_w,  p_w the fraction of token w

    Args:
        rows: (rows, length) ids.

    Returns:
        Nats.
    """
    entropies = []
    for tokens in grams(bodies(rows), 1, 1):
        p = np.unique(tokens, return_counts=True)[1] / max(len(tokens), 1)
        entropies.append(-(p * np.log(p)).sum())
    return float(np.mean(entropies))


def distinct(rows: np.ndarray, n: int, vocab_size: int) -> float:
    """Distinct-n: the different n-grams of all texts as a fraction of all their n-grams.

    Args:
        rows: (rows, length) ids.
        n: Length of a run.
        vocab_size: Number of tokens.

    Returns:
        The fraction, 0 without n-grams.

    Source: 1510.03055.
    """
    every = np.concatenate(grams(bodies(rows), n, vocab_size))
    return len(np.unique(every)) / max(len(every), 1)


def self_repetition(rows: np.ndarray, n: int, vocab_size: int) -> float:
    """The fraction of a text's n-grams that stood in it before, averaged over texts.

    1 - |different| / |all|

    Args:
        rows: (rows, length) ids.
        n: Length of a run.
        vocab_size: Number of tokens.

    Returns:
        The fraction, 0 without n-grams.
    """
    found = grams(bodies(rows), n, vocab_size)
    return float(np.mean([1 - len(np.unique(g)) / len(g) if len(g) else 0.0 for g in found]))


def copied(rows: np.ndarray, training: np.ndarray, n: int, vocab_size: int) -> float:
    """The fraction of the n-grams of all texts that occur in the training texts.

    Args:
        rows: (rows, length) ids.
        training: Different n-grams, as numbers of `grams`.
        n: Length of a run.
        vocab_size: Number of tokens.

    Returns:
        The fraction, 0 without n-grams.
    """
    every = np.concatenate(grams(bodies(rows), n, vocab_size))
    return float(np.isin(every, training).mean()) if len(every) else 0.0


def training_grams(rows: np.ndarray, n: int, vocab_size: int, part: int = 10_000) -> np.ndarray:
    """The different n-grams of training rows.

    Args:
        rows: (rows, length) ids, possibly a memory map.
        n: Length of a run.
        vocab_size: Number of tokens.
        part: Rows that are read at a time.

    Returns:
        Sorted numbers of `grams`.
    """
    parts = [
        np.unique(np.concatenate(grams(rows[i : i + part], n, vocab_size)))
        for i in range(0, len(rows), part)
    ]
    return np.unique(np.concatenate(parts))
