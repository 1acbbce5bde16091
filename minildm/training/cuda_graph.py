"""Losses and gradients of a training step as one CUDA graph, which is captured once and replayed.

A small model's step is thousands of small kernels that wait for Python. A graph launches them all
at once: on one H200 a step of the zoo's LDLM took 63 ms, and 14 ms as a graph. A replay repeats the
captured kernels with the captured numbers, so whatever differs from step to step lies in tensors
that are filled before each replay: the tokens, the number of the step, which schedules inside of
the model read, and the seed of the random numbers. Buffers, such as the distribution of training
times, are changed in place and are read anew as well. The optimizer and the average of the weights
need few kernels and stay outside, and so do their schedules.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..errors import UserError, reason
from ..models.base import LanguageModel, Losses
from .config import TrainConfig
from .distributed import DistributedContext

WARM_UP = 3  # runs before the capture: they compile the blocks and settle the memory


def refuse_graph(config: TrainConfig, context: DistributedContext) -> None:
    """Refuse a training that cannot be replayed as a CUDA graph.

    Args:
        config: How the model is trained.
        context: This process and its device.

    Raises:
        UserError: When a graph is asked for without a GPU, or for a batch that is cut into parts.
    """
    if config.cuda_graph and context.device.type != "cuda":
        raise UserError("--train.cuda-graph needs a GPU with CUDA: leave it out to train on a CPU")
    if config.cuda_graph and context.world * config.accumulate > 1:
        raise UserError(
            "--train.cuda-graph trains on whole batches on one GPU: "
            "leave it out, or leave out --train.accumulate and torchrun"
        )


class StepGraph:
    """Losses and gradients of batches of one shape, captured with the first batch.

    `backward(tokens, step, rng)` adds gradients to those of the model and returns the losses.
    """

    def __init__(
        self,
        model: LanguageModel,
        backward: Callable[[Tensor, Tensor, torch.Generator], Losses],
        tokens: Tensor,
    ):
        device = model.device
        self.tokens = tokens.to(device, copy=True)
        self.step = torch.zeros((), dtype=torch.long, device=device)
        self.rng = torch.Generator(device)
        self.graph = torch.cuda.CUDAGraph()
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        run = partial(backward, self.tokens, self.step, self.rng)
        self.losses = self.capture(model, run)
        for buffer, before in buffers:  # which the runs before the capture have changed
            buffer.copy_(before)

    def capture(self, model: LanguageModel, run: Callable[[], Losses]) -> Losses:
        """Capture a run after some on a side stream; its gradients lie in the graph's memory."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream().wait_stream(side)
        model.zero_grad(set_to_none=True)
        self.graph.register_generator_state(self.rng)
        try:
            with torch.cuda.graph(self.graph):
                return run()
        except RuntimeError as fault:
            raise UserError(
                f"the step of this model cannot be captured as a CUDA graph ({reason(fault)}): "
                "leave out --train.cuda-graph"
            ) from fault

    def __call__(self, tokens: Tensor, step: int, seed: int) -> Losses:
        """Replay the step of a batch: its gradients lie in the model, its losses in one place."""
        pinned = tokens.pin_memory() if self.tokens.is_cuda else tokens
        self.tokens.copy_(pinned, non_blocking=True)
        self.step.fill_(step)
        self.rng.manual_seed(seed)
        self.graph.replay()
        return self.losses
