"""The exponential moving average of a model's weights, with which a trained model is used."""

# torch's functions of lists of tensors have no public names
# pyright: reportPrivateImportUsage=false

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .checkpoint import trained_state


class EMA:
    """Exponential moving average of a model's trained weights, with a warm start.

    mean <- d mean + (1 - d) weight,  d = min(decay, (1 + step) / (10 + step))
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.weights = {
            name: value.detach().clone() for name, value in trained_state(model).items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights that a model has after a step; those of a type in one call."""
        decay = min(self.decay, (1 + step) / (10 + step))
        means: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        values: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for name, value in trained_state(model).items():
            means[value.dtype].append(self.weights[name])
            values[value.dtype].append(value)
        for dtype in means:
            if dtype.is_floating_point:
                torch._foreach_lerp_(means[dtype], values[dtype], 1 - decay)
            else:
                torch._foreach_copy_(means[dtype], values[dtype])

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Put the averages in the place of a model's weights for a while, in evaluation mode."""
        own = {name: value.clone() for name, value in trained_state(model).items()}
        model.load_state_dict(self.weights, strict=False)
        model.eval()
        try:
            yield
        finally:
            model.load_state_dict(own, strict=False)
            model.train()
