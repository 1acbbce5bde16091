"""How well a model knows texts that it did not draw."""

import numpy as np

from ..models.base import LanguageModel
from ..text.batches import valid_batches
from ..text.corpora import pad_rows
from ..text.tales import split
from ..text.tales_parser import log_prob
from ..text.tokenizers import Tokenizer
from ..tokens import PAD

BATCH = 64  # rows at a time
EVENTS = 3  # of a tale, where a corpus does not say how many


def is_tales(corpus: str) -> bool:
    """Whether a corpus is of tales, whose exact distribution is known.

    Args:
        corpus: Its name.

    Returns:
        The answer.
    """
    return corpus.partition(":")[0] == "tales"


def figures_of(model: LanguageModel, rows: np.ndarray, batch: int = BATCH) -> dict[str, float]:
    """What a model says of held-out texts.

    Args:
        model: The model.
        rows: (rows, length) ids.
        batch: Rows at a time.

    Returns:
        Figures by name, see `held_out` of the model.
    """
    return model.held_out(valid_batches(rows, batch))


def excess(
    model: LanguageModel, tokenizer: Tokenizer, events: int, count: int = 2000
) -> dict[str, float]:
    """Nats of test tales above their exact entropy, as a fraction of it.

    sum (log p(tale) - log q(tale)) / sum (-log p(tale))

    Here p is the exact distribution and q the model, or its bound.

    Args:
        model: q, which has a likelihood or a bound on it.
        tokenizer: Its tokenizer.
        events: Number of events of a tale.
        count: Number of test tales.

    Returns:
        "nats_per_tale" of the model, "exact_nats_per_tale", and "excess".
    """
    texts = split("test", count, events)
    documents = [tokenizer.encode(text) for text in texts]
    rows = pad_rows(documents, max(map(len, documents)) + 2, tokenizer)
    tokens = int((rows[:, 1:] != PAD).sum())
    own = figures_of(model, rows)["nats_per_token"] * tokens / count
    exact = -sum(map(log_prob, texts)) / count
    return {"nats_per_tale": own, "exact_nats_per_tale": exact, "excess": own / exact - 1}


def held_out(
    model: LanguageModel, tokenizer: Tokenizer, corpus: str, valid: np.ndarray
) -> dict[str, float]:
    """What can be measured of a model on texts that it has not seen.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        corpus: Name of the corpus.
        valid: (rows, length) ids.

    Returns:
        Figures of the model's `held_out` and, on Tales, of `excess` where it has a likelihood.
    """
    figures = figures_of(model, valid)
    if "nats_per_token" in figures and is_tales(corpus):
        figures |= excess(
            model, tokenizer, int(corpus.partition(":")[2].partition("+")[0] or EVENTS)
        )
    return figures
