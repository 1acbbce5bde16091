"""The cost of few steps for a trained masked model, from its own curve of surprise."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..models.masked import MaskedDiffusion
from ..models.measures import cross_entropies
from ..text.batches import valid_batches
from ..text.corpora import pad_rows
from ..text.tales import split
from ..text.tales_entropy import entropy
from ..tokens import MASK
from .ch09_parallel_commits import staircase
from .common import generator, small_model
from .record import Record

STEPS = (1, 2, 4, 8, 16, 32, 64)
FRACTIONS = [k / 64 for k in range(64)]


@torch.no_grad()
def model_surprise(
    model: MaskedDiffusion, rows: np.ndarray, fractions: Sequence[float], rng: torch.Generator
) -> Float[Tensor, " fractions"]:
    """The surprise of a masked model at a hidden token when each is visible with probability t.

    g(t) = E sum over hidden i of -log p_i(w_i | visible tokens) / (n (1 - t))

    Args:
        model: The model.
        rows: Token ids (texts, n).
        fractions: Values of t in [0, 1).
        rng: Generator of the random numbers.

    Returns:
        Nats a position for each fraction.

    Derived in chapter 09.
    """
    totals = torch.zeros(len(fractions), dtype=torch.float64)
    for tokens in valid_batches(rows, 64):
        tokens = tokens.to(model.device)
        arrival = torch.rand(tokens.shape, generator=rng, device=tokens.device)
        for k, t in enumerate(fractions):
            hidden = arrival >= t
            logits = model.logits(tokens.masked_fill(hidden, MASK)).float()
            totals[k] += (cross_entropies(logits, tokens) * hidden).sum().item() / (1 - t)
    return totals / rows.size


def run(out: Path = Path("runs/ch09_step_cost.json"), texts: int = 512) -> None:
    """What few steps cost a trained masked model in nats, and the least fraction of right tales.

    Args:
        out: File of the record.
        texts: Test tales on which surprise is measured.
    """
    record = Record(out, texts=texts)
    case = {"model": "masked"}
    if case in record:
        return
    loaded = small_model("masked")
    length = loaded.model.config.seq_len
    documents = [loaded.tokenizer.encode(text) for text in split("test", texts)]
    rows = pad_rows(documents, length, loaded.tokenizer)
    exact = entropy(3)
    curve = model_surprise(
        cast(MaskedDiffusion, loaded.model), rows, FRACTIONS, generator()
    ).tolist()
    coarse = {steps: staircase(curve, length, steps) for steps in STEPS}
    cost = {steps: nats - exact for steps, nats in coarse.items()}
    figures = {
        "fractions": FRACTIONS,
        "surprise": curve,
        "entropy": exact,
        "staircase": coarse,
        "cost": cost,
        "floor": {steps: torch.tensor(-nats).exp().item() for steps, nats in cost.items()},
    }
    record.add(case | figures)
