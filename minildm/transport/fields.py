"""A small network that learns a field on the line or in the plane, and the few lines that train it."""

import math

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from .couplings import Pairs
from .paths import flow_matching_loss, sample_path
from .schedules import Linear, Schedule
from .time_sampling import TimeDistribution, Uniform


class SmallField(nn.Module):
    """A velocity u(z, t) for states of few numbers: a perceptron of three hidden layers on waves of
    z and t.

    From bare coordinates a small network is slow to learn edges finer than the noise; sines and
    cosines of periods 8, 4 and 2 give it edges to begin with.
    """

    def __init__(self, state: int = 2, width: int = 64, octaves: int = 3):
        super().__init__()
        self.register_buffer("frequencies", math.pi / 4 * 2.0 ** torch.arange(octaves))
        self.layers = nn.Sequential(
            nn.Linear((state + 1) * (1 + 2 * octaves), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, state),
        )

    def forward(self, z: Float[Tensor, "batch state"], t: Tensor) -> Float[Tensor, "batch state"]:
        """u(z, t) for t scalar or (batch,)."""
        x = torch.cat((z, t.expand(len(z))[:, None]), dim=1)
        angles = (x[..., None] * self.frequencies).flatten(1)
        return self.layers(torch.cat((x, angles.sin(), angles.cos()), dim=1))


def train_field(
    field: nn.Module,
    pairs: Pairs,
    rng: torch.Generator,
    steps: int = 1000,
    batch: int = 256,
    rate: float = 4e-3,
    schedule: Schedule = Linear(),
    law: TimeDistribution = Uniform(),
) -> list[float]:
    """Flow matching: draw pairs and times, and regress the field on the velocities of their paths.

    min over u of E |u(z_t, t) - (a' z_1 + b' z_0)|^2, by Adam with a rate that falls to zero along a cosine
    Args: `field`, (z, t) -> u; `pairs`, (count, rng) -> z_0, z_1; `rng`; `steps`; `batch`; `rate`; `schedule`; `law` of time.
    Returns the loss of each step. Derived in chapter 06. Source: textbook.
    """
    optimizer = torch.optim.Adam(field.parameters(), rate, fused=True)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        z0, z1 = pairs(batch, rng)
        loss = flow_matching_loss(field, sample_path(schedule, z1, z0, law.draw(batch, rng)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        losses.append(loss.item())
    return losses
