"""How the gradients of a batch are computed: part by part, or by replaying the graph of a step."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..models.base import LanguageModel, Losses
from .config import TrainConfig
from .cuda_graph import StepGraph, refuse_graph
from .distributed import DistributedContext, step_generator, step_seed
from .metrics import mean_losses


def compile_blocks(model: nn.Module) -> None:
    """Compile the blocks that networks repeat: one of a kind serves all.

    That takes seconds where compiling a whole model takes minutes.

    Args:
        model: Whose modules may have `blocks`.
    """
    for stack in model.modules():
        for block in getattr(stack, "blocks", ()):
            block.compile()


class Gradients:
    """The gradients of batches, which are cut into parts for processes and for accumulation.

    Args:
        model: In which they are left.
        config: How it is trained.
        context: This process among those that train.

    Raises:
        UserError: When the batch cannot be cut, or a graph cannot be had.
    """

    def __init__(self, model: LanguageModel, config: TrainConfig, context: DistributedContext):
        self.model = model
        self.config = config
        self.context = context
        self.parts = context.world * config.accumulate  # of a batch, each with its random numbers
        self.graph: StepGraph | None = None
        if config.batch % self.parts:
            raise UserError(
                f"a batch of {config.batch} texts cannot be cut evenly for {context.world} "
                f"processes x {config.accumulate} parts: choose a multiple of {self.parts}"
            )
        refuse_graph(config, context)
        for part in model.modules():
            if hasattr(part, "checkpointing"):
                part.checkpointing = config.checkpointing  # pyright: ignore[reportArgumentType]

    def __call__(self, forward: Callable[..., Losses], batch: Tensor, step: int) -> Losses:
        """Leave the gradients of a batch in the model; returns the mean losses of its parts."""
        if self.config.cuda_graph:
            return self.replay(batch, step)
        c, context = self.config, self.context
        self.model.zero_grad(set_to_none=True)
        parts = batch.chunk(self.parts)
        losses = []
        for i in range(c.accumulate):
            part = i * context.world + context.rank
            tokens = parts[part].to(context.device, non_blocking=True)
            rng = step_generator(c.seed, step, part, context.device)
            losses.append(self.backward(forward, tokens, step, rng))
        return mean_losses(losses)

    def backward(
        self,
        forward: Callable[..., Losses],
        tokens: Tensor,
        step: int | Tensor,
        rng: torch.Generator,
    ) -> Losses:
        """Add the gradients of a part of a batch to those of the model; returns its losses."""
        device = self.context.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.config.bf16):
            losses = forward(tokens, step=step, rng=rng)
        (losses.total / self.config.accumulate).backward()
        return losses

    def replay(self, batch: Tensor, step: int) -> Losses:
        """The same by the graph of the step, which is captured with the first batch."""
        if self.graph is None:
            self.graph = StepGraph(self.model, partial(self.backward, self.model), batch)
        return self.graph(batch, step, step_seed(self.config.seed, step, 0))
