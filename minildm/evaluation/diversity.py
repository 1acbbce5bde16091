"""Diversity of written texts: how many words, how often the same, and how much is copied from the
training texts.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..text.tokenizers import EOS, SPECIALS

FIRST = len(SPECIALS)  # ids below are specials and never count


def bodies(rows: np.ndarray) -> np.ndarray:
    """Rows of tokens with everything from the first <eos> on set to padding.

    Args:
        rows: (rows, length), ids.

    Returns:
        (rows, length) int64.
    """
    rows = np.asarray(rows, dtype=np.int64)
    return np.where(np.cumsum(rows == EOS, axis=1) > 0, 0, rows)


def grams(rows: np.ndarray, n: int, vocabulary: int) -> list[np.ndarray]:
    """The n-grams of each row, runs of n tokens with no special among them, as numbers sum_i w_i V^(n-i).

    Args: `rows` (rows, length), ids; `n`; `vocabulary` V. Returns one int64 array a row.
    Derived in chapter 15. Source: ours.
    """
    windows = sliding_window_view(np.asarray(rows, dtype=np.int64), n, axis=1)
    codes = windows @ vocabulary ** np.arange(n - 1, -1, -1)
    return [code[keep] for code, keep in zip(codes, (windows >= FIRST).all(-1))]


def unigram_entropy(rows: np.ndarray) -> float:
    """Entropy of the words inside a text, averaged over texts, H = - sum_w p_w log p_w with p_w the
    share of word w.

    Args:
        rows: (rows, length), ids.

    Returns:
        Nats.
    """
    entropies = []
    for words in grams(bodies(rows), 1, 1):
        p = np.unique(words, return_counts=True)[1] / max(len(words), 1)
        entropies.append(-(p * np.log(p)).sum())
    return float(np.mean(entropies))


def distinct(rows: np.ndarray, n: int, vocabulary: int) -> float:
    """Distinct-n: different n-grams of all texts as a share of all their n-grams.

    Args: `rows` (rows, length), ids; `n`; `vocabulary` size. Returns a share, 0 without n-grams.
    Derived in chapter 15. Source: textbook.
    """
    every = np.concatenate(grams(bodies(rows), n, vocabulary))
    return len(np.unique(every)) / max(len(every), 1)


def self_repetition(rows: np.ndarray, n: int, vocabulary: int) -> float:
    """Share of a text's n-grams that stood in it before, averaged over texts, 1 - |different| / |all|.

    Args: `rows` (rows, length), ids; `n`; `vocabulary` size. Returns a share. Derived in chapter 15. Source: ours.
    """
    return float(
        np.mean(
            [
                1 - len(np.unique(g)) / max(len(g), 1) if len(g) else 0.0
                for g in grams(bodies(rows), n, vocabulary)
            ]
        )
    )


def copied(rows: np.ndarray, training: np.ndarray, n: int, vocabulary: int) -> float:
    """Share of the n-grams of all texts that occur in the training texts.

    Args: `rows` (rows, length), ids; `training`, different n-grams as numbers of `grams`; `n`; `vocabulary` size.
    Returns a share, 0 without n-grams. Derived in chapter 15. Source: ours.
    """
    every = np.concatenate(grams(bodies(rows), n, vocabulary))
    return float(np.isin(every, training).mean()) if len(every) else 0.0


def training_grams(rows: np.ndarray, n: int, vocabulary: int, part: int = 10_000) -> np.ndarray:
    """The different n-grams of training rows, read `part` rows at a time.

    Args: `rows` (rows, length), ids, possibly a memory map; `n`; `vocabulary` size; `part`.
    Returns sorted numbers of `grams`. Derived in chapter 15. Source: ours.
    """
    parts = [
        np.unique(np.concatenate(grams(rows[i : i + part], n, vocabulary)))
        for i in range(0, len(rows), part)
    ]
    return np.unique(np.concatenate(parts))
