"""How a model is trained, and the learning rate of each step."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from ..errors import UserError


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained."""

    steps: int = 1000  # optimizer steps
    batch: int = 64  # texts a step, over all processes
    accumulate: int = 1  # parts into which each process cuts its part of the batch
    optimizer: Literal["muon", "adamw"] = "muon"  # of matrices inside blocks; the rest has AdamW
    lr: float = 1e-3  # peak learning rate
    final_lr: float = 0.1  # learning rate at the end, as a fraction of the peak
    warmup: int = 100  # steps of linear warm-up
    weight_decay: float = 0.01  # on matrices only
    beta2: float = 0.99  # AdamW's second decay
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.999  # decay of the averaged weights
    bf16: bool = False  # autocast to bfloat16 and iterate Muon in it, where the device has it
    compile: bool = False  # torch.compile the blocks
    cuda_graph: bool = False  # replay losses and gradients as one CUDA graph: fast for small models
    checkpointing: bool = False  # recompute Transformer blocks in the backward pass, to save memory
    seed: int = 0  # of weights, order and noise
    log_every: int = 20  # steps between lines of the metrics log
    eval_every: int = 500  # steps between evaluations
    save_every: int = 500  # steps between checkpoints

    def __post_init__(self):
        for name in ("steps", "batch", "accumulate", "log_every", "eval_every", "save_every"):
            self.require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("final_lr", "warmup", "weight_decay"):
            self.require(name, getattr(self, name) >= 0, "at least 0")
        for name in ("lr", "clip"):
            self.require(name, getattr(self, name) > 0, "above 0")
        for name in ("beta2", "ema"):
            self.require(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        self.require("seed", 0 <= self.seed < 2**31, "from 0 to 2147483647")

    def require(self, name: str, holds: bool, rule: str) -> None:
        """Refuse the value of a field for which its rule does not hold."""
        if not holds:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} must be {rule}, not {getattr(self, name)}")


def learning_rate(step: int, c: TrainConfig) -> float:
    """The learning rate of a step: a linear warm-up, then a cosine from the peak to its end.

    lr (f + (1 - f) (1 + cos(pi x)) / 2),  x = (step - warmup) / (steps - warmup)

    Args:
        step: Number of the step, from 0.
        c: The peak, the fraction f of it at the end, and the numbers of steps.

    Returns:
        The learning rate.

    Derived in chapter 16. Source: nanoGPT.
    """
    if step < c.warmup:
        return c.lr * (step + 1) / c.warmup
    x = (step - c.warmup) / max(c.steps - c.warmup, 1)
    return c.lr * (c.final_lr + (1 - c.final_lr) * 0.5 * (1 + math.cos(math.pi * min(x, 1.0))))


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16, which other CPUs emulate at a fraction of their speed.

    Args:
        device: On which a model is trained.

    Returns:
        True on a GPU, and on a CPU for which oneDNN has such kernels.
    """
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def on_device(config: TrainConfig, device: torch.device) -> TrainConfig:
    """The configuration in float32 where the device does not compute in bfloat16.

    Args:
        config: As it was asked for.
        device: On which a model is trained.

    Returns:
        The configuration of the steps; all else is as in `config`.
    """
    return replace(config, bf16=config.bf16 and has_bfloat16(device))
