"""Jacobians of fields that are only known by calling them: their top eigenvalue, by products alone."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from .records import Field


def top_eigenvalue(field: Field, z: Float[Tensor, "batch ..."], t: Tensor, rng: torch.Generator,
                   rounds: int = 50) -> Float[Tensor, " batch"]:
    """The fastest rate at which neighbors of each state part, by power iteration with Jacobian products.

    The top eigenvalue of S = (J + J')/2, J = du/dz; of J where J is symmetric, as it is for the field of any law. Iterating S
    finds its size |S|; iterating S + |S| I finds the top one even where contraction is faster. Each gives x'Sx, never above
    the top, and the larger one counts; its error falls like (second eigenvalue / first)^(2 rounds).
    Args: `field`, whose rows do not look at each other; `z` (batch, ...) and `t` as it takes them; `rng`; `rounds` of each of
    the two iterations, a round being two products. Returns (batch,). Derived in chapter 08. Source: textbook.
    """
    def unit(x: Tensor) -> Tensor:
        return x / dots(x, x).sqrt().clamp(min=torch.finfo(x.dtype).tiny)

    def dots(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).flatten(1).sum(1).reshape(-1, *[1] * (x.dim() - 1))

    def at(z: Tensor) -> Tensor:
        return field(z, t)

    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():  # fused attention has no forward derivative
        _, pull = vjp(at, z)
        size, rates = torch.zeros_like(dots(z, z)), []
        for _ in range(2):
            x = unit(torch.randn(z.shape, generator=rng, dtype=z.dtype, device=z.device))
            for _ in range(rounds):
                y = (jvp(at, (z,), (x,))[1] + pull(x)[0]) / 2
                rate, stretch = dots(x, y), dots(y, y).sqrt()
                x = unit(y + size * x)
            rates.append(rate.flatten())
            size = stretch
    return torch.maximum(*rates)
