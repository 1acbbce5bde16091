"""Muon for many matrices at once: those of one shape are stacked, so that a step costs few calls
however deep the model.
"""

from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor

QUINTIC = (3.4445, -4.7750, 2.0315)  # of the published iteration


def orthogonal_factor(
    x: Float[Tensor, "k rows columns"], steps: int = 5, dtype: torch.dtype = torch.bfloat16
) -> Float[Tensor, "k rows columns"]:
    """U V^T of matrices X = U S V^T, up to singular values between 0.7 and 1.2, by Newton-Schulz
    iterations.

    X <- X / |X|;  A = X X^T;  X <- a X + (b A + c A^2) X, five times

    Args:
        x: (k, rows, columns).
        steps: Number of steps.
        dtype: Of the iteration.

    Returns:
        The same shape in that type.

    Derived in chapter 16. Source: Muon.
    """
    a, b, c = QUINTIC
    tall = x.shape[1] > x.shape[2]
    x = (x.mT if tall else x).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose directions are all turned to one length; what torch's Muon computes, for all
    matrices of a shape at once.

    M <- mu M + (1 - mu) G;  W <- (1 - lr decay) W - 0.2 lr sqrt(max(rows, columns)) U V^T,  U S V^T
    = (1 - mu) G + mu M
    The factor 0.2 gives each update the size of AdamW's, so that one learning rate serves both.
    `dtype` is that of the iteration: bfloat16 is fast, and float32 lets processes that share a
    batch agree to rounding.
    """

    def __init__(
        self,
        params,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            alike = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
            for (rows, columns), weights in alike.items():
                for p in weights:
                    if p not in self.state:
                        self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                grads, means = (
                    [p.grad for p in weights],
                    [self.state[p]["momentum_buffer"] for p in weights],
                )
                torch._foreach_lerp_(means, grads, 1 - group["momentum"])
                turned = orthogonal_factor(
                    torch.stack(grads).lerp_(torch.stack(means), group["momentum"]),
                    dtype=self.dtype,
                )
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                scale = 0.2 * group["lr"] * max(rows, columns) ** 0.5
                torch._foreach_add_(
                    weights, list(turned.to(weights[0].dtype).unbind()), alpha=-scale
                )
