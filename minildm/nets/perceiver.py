"""Perceiver: queries at as many positions as wanted read a stream of another length."""

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor

from .layers import Attention, FeedForward, RMSNorm, local_bias, rotary_angles


class PerceiverBlock(nn.Module):
    """Attention of the latents to latents and input, then feed-forward."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.norm2 = RMSNorm(d_model)
        self.norm_context = RMSNorm(d_model)
        self.attention = Attention(d_model, n_heads, context=True, norm=True)
        self.feed_forward = FeedForward(d_model)

    def forward(
        self,
        x: Tensor,
        angles: Tensor,
        context: tuple[Tensor, Tensor],
        bias: Float[Tensor, "n m"] | None = None,
    ) -> Tensor:
        rows, context_angles = context
        read = (self.norm_context(rows), context_angles)
        x = x + self.attention(self.norm1(x), angles, read, bias=bias)
        return x + self.feed_forward(self.norm2(x))


class Perceiver(nn.Module):
    """Map (batch, n, source) to (batch, m, target): queries at m positions read n input positions.

    Both sets of positions are rotary and lie on the axis of tokens, `spacing` tokens apart in the
    input and in the output, and a query starts as a learned vector plus the input at its own place,
    so that one network serves any length. With a `reach` a query reads only what is that near, in
    tokens, and what it makes of a text does not depend on the text's length.
    """

    def __init__(
        self,
        source: int,
        target: int,
        d_model: int,
        n_heads: int,
        n_layers: int,
        spacing: tuple[float, float] = (1.0, 1.0),
        reach: int | None = None,
    ):
        super().__init__()
        self.head_dim = d_model // n_heads
        self.spacing_in, self.spacing_out = spacing
        self.reach = reach
        self.query = nn.Parameter(torch.zeros(d_model))
        self.in_proj = nn.Linear(source, d_model)
        self.out_proj = nn.Linear(d_model, target)
        self.blocks = nn.ModuleList(PerceiverBlock(d_model, n_heads) for _ in range(n_layers))
        self.norm = RMSNorm(d_model)

    def forward(self, x: Float[Tensor, "b n source"], count: int) -> Float[Tensor, "b m target"]:
        inputs = self.spacing_in * torch.arange(x.shape[1], device=x.device)
        outputs = self.spacing_out * torch.arange(count, device=x.device)
        angles = rotary_angles(outputs, self.head_dim)
        context = self.in_proj(x.to(self.in_proj.weight.dtype))
        read = (context, rotary_angles(inputs, self.head_dim))
        bias = None
        if self.reach is not None:
            bias = local_bias(outputs, torch.cat((outputs, inputs)), self.reach)
        place = outputs / self.spacing_in
        y = self.query + context[:, place.long().clamp(max=x.shape[1] - 1)]
        for block in self.blocks:
            y = block(y, angles, read, bias)
        return self.out_proj(self.norm(y))
