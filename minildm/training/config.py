"""How a model is trained, and the learning rate of each step."""

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import UserError

RULES = {
    "at least 1": (
        ("steps", "batch", "accumulate", "log_every", "eval_every", "save_every"),
        lambda x: x >= 1,
    ),
    "at least 0": (("final_lr", "warmup", "weight_decay"), lambda x: x >= 0),
    "above 0": (("lr", "clip"), lambda x: x > 0),
    "from 0 to below 1": (("beta2", "ema"), lambda x: 0 <= x < 1),
    "from 0 to 2147483647": (("seed",), lambda x: 0 <= x < 2**31),
}


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained."""

    steps: int = 1000  # optimizer steps
    batch: int = 64  # texts a step, over all processes
    accumulate: int = 1  # parts a process cuts its share of the batch into
    optimizer: Literal["muon", "adamw"] = (
        "muon"  # of the matrices inside blocks; the rest is AdamW's
    )
    lr: float = 1e-3  # peak learning rate
    final_lr: float = 0.1  # learning rate at the end, as a share of the peak
    warmup: int = 100  # steps of linear warm-up
    weight_decay: float = 0.01  # on matrices only
    beta2: float = 0.99  # AdamW's second decay
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.999  # decay of the averaged weights
    bf16: bool = False  # autocast to bfloat16, and iterate Muon in it
    compile: bool = False  # torch.compile the blocks
    checkpointing: bool = False  # recompute Transformer blocks in the backward pass, to save memory
    seed: int = 0  # of weights, order and noise
    log_every: int = 20  # steps between lines of the journal
    eval_every: int = 500  # steps between evaluations
    save_every: int = 500  # steps between checkpoints

    def __post_init__(self):
        for rule, (names, holds) in RULES.items():
            for name in names:
                if not holds(getattr(self, name)):
                    raise UserError(
                        f"--{name.replace('_', '-')} must be {rule}, not {getattr(self, name)}"
                    )


def learning_rate(step: int, c: TrainConfig) -> float:
    """Linear warm-up, then a cosine from the peak to its final share.

    lr (f + (1 - f) (1 + cos(pi x)) / 2),  x = (step - warmup) / (steps - warmup)
    Args: `step`, from 0; `c`. Returns the learning rate of that step. Derived in chapter 16. Source: nanoGPT's habit.
    """
    if step < c.warmup:
        return c.lr * (step + 1) / c.warmup
    x = (step - c.warmup) / max(c.steps - c.warmup, 1)
    return c.lr * (c.final_lr + (1 - c.final_lr) * 0.5 * (1 + math.cos(math.pi * min(x, 1.0))))
