"""What several studies share: the models of chapter 09, seeds, and scores of texts."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..evaluation.scorecard import validity
from ..models.base import LanguageModel
from ..pretrained import Loaded, load
from ..text.tokenizers import Tokenizer
from ..training.checkpoint import config_card
from ..training.config import TrainConfig
from ..training.loop import Trainer
from ..training.metrics import metrics_path, read_metrics

SMALL_MODELS = {"gpt": "gpt-cpu", "masked": "masked-cpu", "ldlm": "ldlm-cpu"}


def small_model(model_type: str) -> Loaded:
    """A small model of the zoo whose weights need no gradients.

    Args:
        model_type: A key of SMALL_MODELS.

    Returns:
        The model with its tokenizer.
    """
    loaded = load(SMALL_MODELS[model_type])
    loaded.model.requires_grad_(False)
    return loaded


def generator(seed: int = 0) -> torch.Generator:
    """A generator of random numbers with this seed."""
    return torch.Generator().manual_seed(seed)


def scores(tokenizer: Tokenizer, tokens: Int[Tensor, "b n"]) -> dict[str, float]:
    """The validity of texts that are given as tokens.

    Args:
        tokenizer: Of Tales.
        tokens: Token ids (batch, length).

    Returns:
        Fractions and errors by name, as `evaluation.scorecard.validity` returns them.
    """
    return validity([tokenizer.decode(row) for row in tokens.tolist()])


def band(values: Float[Tensor, "time batch"]) -> dict[str, list[float]]:
    """The mean over texts, and the 10th and 90th percentile.

    Args:
        values: A number for each time and text.

    Returns:
        "mean", "low" and "high", each a list over time.
    """
    low, high = values.quantile(torch.tensor([0.1, 0.9]), dim=1).tolist()
    return {"mean": values.mean(1).tolist(), "low": low, "high": high}


def trained(
    model: LanguageModel, rows: np.ndarray, train: TrainConfig, folder: Path
) -> list[dict[str, Any]]:
    """Train a model, and leave it with its averaged weights; an interrupted run goes on.

    Args:
        model: Untrained.
        rows: Token ids of the training texts (rows, length).
        train: How it is trained.
        folder: Of the run.

    Returns:
        The lines of the metrics log.
    """
    card = {"config": {"model": config_card(model.config), "train": config_card(train)}}
    trainer = Trainer(model, rows, train, folder, card)
    trainer.resume()
    trainer.fit(quiet=True)
    model.load_state_dict(trainer.ema.weights, strict=False)
    return read_metrics(metrics_path(folder))
