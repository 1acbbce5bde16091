"""Perceiver: queries at as many positions as wanted read a stream of another length."""

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from .layers import Attention, FeedForward, RMSNorm, rotary_angles


class PerceiverBlock(nn.Module):
    """One attention whose queries are the latents and whose keys and values are latents and input,
    then feed-forward.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2, self.norm_context = (RMSNorm(width) for _ in range(3))
        self.attention, self.feed_forward = (
            Attention(width, heads, context=True, norm=True),
            FeedForward(width),
        )

    def forward(self, x: Tensor, angles: Tensor, context: Tensor, context_angles: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), angles, self.norm_context(context), context_angles)
        return x + self.feed_forward(self.norm2(x))


class Perceiver(nn.Module):
    """Map (batch, n, source) to (batch, m, target): queries at m positions read n input positions.

    Both sets of positions are rotary and lie on the axis of tokens (`spacing_in`, `spacing_out`
    tokens apart), and a query starts as a learned vector plus the input at its own place, so that
    one network serves any length.
    """

    def __init__(
        self,
        source: int,
        target: int,
        width: int,
        heads: int,
        layers: int,
        spacing_in: float = 1.0,
        spacing_out: float = 1.0,
    ):
        super().__init__()
        self.head, self.spacing_in, self.spacing_out = width // heads, spacing_in, spacing_out
        self.query = nn.Parameter(torch.zeros(width))
        self.enter, self.leave = nn.Linear(source, width), nn.Linear(width, target)
        self.blocks = nn.ModuleList(PerceiverBlock(width, heads) for _ in range(layers))
        self.norm = RMSNorm(width)

    def forward(self, x: Float[Tensor, "b n source"], count: int) -> Float[Tensor, "b m target"]:
        def angles(n, spacing):
            return rotary_angles(spacing * torch.arange(n, device=x.device), self.head)

        context = self.enter(x.to(self.enter.weight.dtype))
        place = torch.arange(count, device=x.device) * self.spacing_out / self.spacing_in
        y = self.query + context[:, place.long().clamp(max=x.shape[1] - 1)]
        for block in self.blocks:
            y = block(
                y, angles(count, self.spacing_out), context, angles(x.shape[1], self.spacing_in)
            )
        return self.leave(self.norm(y))
