"""Sizes that a model can have: counts within bounds, and weights that fit into the memory."""

import math
import os
import sys
from dataclasses import fields, is_dataclass

import torch

from ..errors import UserError
from ..text.corpora import LONGEST

LEAST = {  # of counts that may be below 1
    "layer": -math.inf,
    "n_encoder_layers": 0,
    "warmup": 0,
    "next_token_steps": 0,
}
MOST = {
    "seq_len": LONGEST,
    "n_layers": 1000,
    "n_encoder_layers": 1000,
    "n_decoder_layers": 1000,
    "n_token_layers": 1000,
    "n_denoiser_layers": 1000,
}
COUNT = 10_000_000  # largest value of other counts
COPIES = 5  # of a weight in training: itself, its average, its gradient and two moments


def refuse_size(name: str, value: int | float, flag: str) -> None:
    """Refuse a number that is out of its bounds; counts are by default at least 1, others 0."""
    count = isinstance(value, int)
    least = LEAST.get(name, 1 if count else 0)
    most = MOST.get(name, COUNT if count else math.inf)
    if not least <= value < math.inf:
        raise UserError(f"{flag} must be at least {least} and finite, not {value}")
    if value > most:
        raise UserError(f"{flag} must be at most {most}, not {value}")


def refuse_sizes(config, prefix: str = "--model") -> None:
    """Refuse sizes that no model can have.

    Args:
        config: A dataclass of sizes.
        prefix: What the flags of its fields begin with, for messages.

    Raises:
        UserError: On a number that is out of its bounds, and on heads of uneven size.
    """
    for name in (field.name for field in fields(config)):
        value = getattr(config, name)
        flag = f"{prefix}.{name.replace('_', '-')}"
        if is_dataclass(value):
            refuse_sizes(value, flag)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            refuse_size(name, value, "--length" if name == "seq_len" else flag)
    heads = getattr(config, "n_heads", 1)
    width = getattr(config, "d_model", 2)
    if width % (2 * heads):
        raise UserError(
            f"a width of {width} cannot be cut into {heads} heads of even size: "
            f"change {prefix}.d-model"
        )


def memory(device: torch.device) -> int:
    """Bytes of memory that a device has; where the system does not tell them, no bound."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return sys.maxsize


def refuse_weights(model: torch.nn.Module, device: torch.device) -> None:
    """Refuse a model that cannot be trained in the memory of a device.

    Args:
        model: Built without storage.
        device: On which it is to be trained.

    Raises:
        UserError: When weights, averages, gradients and moments do not fit.
    """
    weights = sum(p.numel() for p in model.parameters())
    needed = 4 * COPIES * weights
    there = memory(device)
    if needed > there:
        raise UserError(
            f"a model of {weights / 1e6:,.0f} million weights needs {needed / 1e9:,.0f} GB to "
            f"train, and there are {there / 1e9:,.0f} GB: "
            "lower --model.d-model or the number of its layers"
        )
