"""The policy's network: integral operators over a text whose positions each have a time of their own."""

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .layers import FeedForward, RMSNorm, ShortConvolution, init_weights, time_features
from .operators import Weights, make_operator


class OperatorBlock(nn.Module):
    """Pre-norm residual block with an integral operator: z + K(norm z), then z + FeedForward(norm z)."""

    def __init__(self, width: int, heads: int, kernel: str):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.operator, self.feed_forward = make_operator(kernel, width, heads), FeedForward(width)

    def forward(self, x: Tensor, positions: Tensor, weights: Weights | None) -> Tensor:
        x = x + self.operator(self.norm1(x), positions, weights)
        return x + self.feed_forward(self.norm2(x))


class VectorField(nn.Module):
    """F(z_t, t, c): what a policy knows at a point of the path, at times (b, n) of its positions, with a self-condition c.

    The time of a position is added to what enters there, so that noisy and finished positions can stand side by side.
    Args: `latent` channels of z and c; `target` channels that leave. Derived in chapter 13. Source: ours.
    """

    def __init__(self, latent: int, target: int, width: int, heads: int, layers: int, kernel: str):
        super().__init__()
        self.checkpointing = False
        self.enter = nn.Linear(2 * latent, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.mix = ShortConvolution(width, before=3, after=0 if kernel == "causal" else 3)
        self.blocks = nn.ModuleList(OperatorBlock(width, heads, kernel) for _ in range(layers))
        self.norm, self.leave = RMSNorm(width), nn.Linear(width, target)
        init_weights(self, layers)
        for layer in (self.enter, self.time[0], self.time[2]):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.zeros_(self.leave.weight)

    def forward(self, zt: Float[Tensor, "b n latent"], t: Float[Tensor, "b n"], c: Float[Tensor, "b n latent"],
                weights: Weights | None = None) -> Float[Tensor, "b n target"]:
        features = time_features(t.flatten(), self.time[0].in_features).unflatten(0, t.shape)
        x = self.mix(self.enter(torch.cat((zt, c), dim=-1)) + self.time(features))
        positions = torch.arange(x.shape[1], device=x.device)
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, positions, weights, use_reentrant=False)
            else:
                x = block(x, positions, weights)
        return self.leave(self.norm(x))
