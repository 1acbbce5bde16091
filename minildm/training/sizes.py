"""Sizes that a model can have: counts within their bounds, and weights that the memory of this
machine holds.
"""

import math
import os
import sys
from dataclasses import fields, is_dataclass

import torch

from ..errors import UserError
from ..text.corpora import LONGEST

LEAST = {
    "layer": -math.inf,
    "encoder_layers": 0,
    "warmup": 0,
    "told_first": 0,
}  # of counts that may be below 1
MOST = {
    "length": LONGEST,
    "layers": 1000,
    "encoder_layers": 1000,
    "decoder_layers": 1000,
    "token_layers": 1000,
    "denoiser_layers": 1000,
}
COUNT = 10_000_000  # largest value of other counts
COPIES = (
    5  # numbers that training keeps for a weight: itself, its average, its gradient, two moments
)


def refuse_sizes(config, flag: str = "--model") -> None:
    """Refuse a number that no model can have: a count out of its bounds, by default from 1 on, or
    another number below 0.

    Args:
        config: A dataclass of sizes.
        flag: What its fields are called, for sentences.

    Raises:
        UserError: On a request that cannot be met.
    """
    for name, value in ((each.name, getattr(config, each.name)) for each in fields(config)):
        count, called = (
            isinstance(value, int),
            "--length" if name == "length" else f"{flag}.{name.replace('_', '-')}",
        )
        least, most = (
            LEAST.get(name, 1 if count else 0),
            MOST.get(name, COUNT if count else math.inf),
        )
        if is_dataclass(value):
            refuse_sizes(value, f"{flag}.{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if not least <= value < math.inf:
                raise UserError(f"{called} must be at least {least} and finite, not {value}")
            if value > most:
                raise UserError(f"{called} must be at most {most}, not {value}")
    heads, width = getattr(config, "heads", 1), getattr(config, "width", 2)
    if width % (2 * heads):
        raise UserError(
            f"a width of {width} cannot be cut into {heads} heads of even size: change {flag}.width"
        )


def memory(device: torch.device) -> int:
    """Bytes of memory that a device has; where the system does not tell them, no bound."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return (
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if hasattr(os, "sysconf")
        else sys.maxsize
    )


def refuse_weights(model: torch.nn.Module, device: torch.device) -> None:
    """Refuse a model whose weights, averages, gradients and moments do not fit into the memory of a
    device.

    Args:
        model: Built without storage.
        device: To train it on.

    Raises:
        UserError: On a request that cannot be met.
    """
    weights = sum(p.numel() for p in model.parameters())
    needed, there = 4 * COPIES * weights, memory(device)
    if needed > there:
        raise UserError(
            f"a model of {weights / 1e6:,.0f} million weights needs {needed / 1e9:,.0f} GB to train, and there "
            f"are {there / 1e9:,.0f} GB: lower --model.width or the number of its layers"
        )
