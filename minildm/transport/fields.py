"""A small network that learns a field on the line or in the plane, and its training."""

import math

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from .couplings import Pairs
from .paths import flow_matching_loss, sample_path
from .schedules import Linear
from .time_sampling import Uniform


class SmallField(nn.Module):
    """A velocity u(z, t) for states of few numbers: a perceptron on z, t and waves of both.

    From bare coordinates a small network is slow to learn edges finer than the noise; sines and
    cosines of periods 8, 4 and 2 give it edges to begin with.
    """

    frequencies: Tensor

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
) -> list[float]:
    """Flow matching on straight paths, by Adam with a rate that falls to zero along a cosine.

    min over u of E |u(z_t, t) - (z_1 - z_0)|^2

    Args:
        field: The network, (z (batch, ...), t (batch,)) -> u (batch, ...).
        pairs: (count, rng) -> z_0, z_1, (count, ...) each.
        rng: Generator of the random numbers.
        steps: Number of updates.
        batch: Pairs in each of them.
        rate: Learning rate at the start.

    Returns:
        The loss of each step.

    Derived in chapter 06.
    """
    optimizer = torch.optim.Adam(field.parameters(), rate, fused=True)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses: list[float] = []
    for _ in range(steps):
        z0, z1 = pairs(batch, rng)
        loss = flow_matching_loss(field, sample_path(Linear(), z1, z0, Uniform().draw(batch, rng)))
        optimizer.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        falling.step()
        losses.append(loss.item())
    return losses
