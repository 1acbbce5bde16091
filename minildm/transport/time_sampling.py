"""Distributions of training time: uniform, logit-normal, and LDLM's adaptive one, after CDCD."""

import math

import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.linalg import ndtri
from ..dynamics.precision import double


def isotonic_decreasing(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The non-increasing sequence closest to y, by the algorithm of pool adjacent violators.

    argmin_x sum_i weight_i (x_i - y_i)^2

    Args:
        y: Any numbers (n,).
        weight: Positive numbers (n,).

    Returns:
        x (n,).
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, count
    for value, w in zip(y, weight):
        blocks.append((float(value), float(w), 1))
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            m2, w2, n2 = blocks.pop()
            m1, w1, n1 = blocks.pop()
            blocks.append(((m1 * w1 + m2 * w2) / (w1 + w2), w1 + w2, n1 + n2))
    return np.repeat([mean for mean, _, _ in blocks], [count for _, _, count in blocks])


def stratified(n: int, rng: torch.Generator) -> Float[Tensor, " n"]:
    """Uniform numbers, one in each n-th of [0, 1), so that no batch leaves a region out.

    v_i = (i + xi_i) / n

    Args:
        n: How many.
        rng: Generator of the random numbers.

    Returns:
        v (n,), increasing and below 1, on the device of `rng`.

    Derived in chapter 07.
    """
    v = (torch.arange(n, device=rng.device) + torch.rand(n, generator=rng, device=rng.device)) / n
    return v.clamp(max=1 - 2**-24)  # n - 1 + xi may round to n


class TimeDistribution:
    """A distribution of time on [0, 1], given by its quantile function F^-1 and its density F'."""

    def warp(self, v: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Time t = F^-1(v): training times from uniform v, a sampling grid from a uniform grid."""
        raise NotImplementedError

    def density(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """p(t) = F'(t), how often time t is drawn, relative to the uniform distribution."""
        raise NotImplementedError

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, " n"]:
        """n times, stratified: one in each n-th of the distribution."""
        return self.warp(stratified(n, rng))


class Uniform(TimeDistribution):
    """Every time alike, p(t) = 1."""

    def warp(self, v: Tensor) -> Tensor:
        return v

    def density(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)


class LogitNormal(TimeDistribution):
    """Times around the middle, log(t/(1-t)) ~ N(mean, std^2), which is half the log-SNR."""

    def __init__(self, mean: float = 0.0, std: float = 1.0):
        self.mean = mean
        self.std = std

    def warp(self, v: Tensor) -> Tensor:
        return torch.sigmoid(self.mean + self.std * ndtri(v))

    def density(self, t: Tensor) -> Tensor:
        x = (torch.logit(t) - self.mean) / self.std
        return torch.exp(-(x**2) / 2) / (math.sqrt(2 * math.pi) * self.std * t * (1 - t))


class AdaptiveTime(TimeDistribution, nn.Module):
    """Times drawn where the loss falls, p(t) ~ -dL/dt, so that L(F^-1(v)) is affine in v.

    At every step a bin takes in the losses that fell into it, each counting 1/p(t):
    l <- decay l + (1 - decay) sum loss/p(t),  c <- decay c + (1 - decay) sum 1/p(t).

    So the means l/c of all bins tell of the same past, however often each was drawn. Each `refresh`
    steps the means are made monotone; their falls, mixed with a uniform `floor`, become the
    distribution of time.
    """

    loss: Tensor  # l
    weight: Tensor  # c
    new_loss: Tensor
    new_count: Tensor
    cdf: Tensor  # F at the edges of the bins

    def __init__(self, bins: int = 50, decay: float = 0.99, refresh: int = 100, floor: float = 0.1):
        super().__init__()
        self.bins = bins
        self.decay = decay
        self.refresh = refresh
        self.floor = floor
        for name in ("loss", "weight", "new_loss", "new_count"):
            self.register_buffer(name, torch.zeros(bins, dtype=torch.float64))
        self.register_buffer("cdf", torch.linspace(0, 1, bins + 1, dtype=torch.float64))

    def warp(self, v: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Time t = F^-1(v), piecewise linear."""
        x = double(v)
        i = (torch.searchsorted(self.cdf, x, right=True) - 1).clamp(0, self.bins - 1)
        left = self.cdf[i]
        return ((i + (x - left) / (self.cdf[i + 1] - left)) / self.bins).float().to(v.device)

    def bin(self, t: Float[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Which bin a time is in."""
        return (double(t) * self.bins).long().clamp(0, self.bins - 1)

    def density(self, t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The probability of each time's bin, divided by the width of a bin."""
        return (self.cdf.diff() * self.bins)[self.bin(t)].float().to(t.device)

    def observe(
        self,
        t: Float[Tensor, "*n"],
        loss: Float[Tensor, "*n"],
        count: Float[Tensor, "*n"] | None = None,
    ) -> None:
        """Add losses at times to the sums of this step.

        Args:
            t: Times (...).
            loss: The loss at each of them.
            count: How much each counts; 1/p(t), which is right for times drawn from here, if left
                out.
        """
        i = self.bin(t).flatten()
        count = 1 / self.density(t) if count is None else count
        self.new_loss.index_add_(0, i, double((loss.detach() * count).flatten()))
        self.new_count.index_add_(0, i, double(count.flatten()))

    def update(self, step: int) -> None:
        """Fold the sums of this step, of all processes, into the discounted ones.

        Args:
            step: Number of the step; the distribution is refreshed when it is due.
        """
        for kept, new in ((self.loss, self.new_loss), (self.weight, self.new_count)):
            if dist.is_initialized():
                dist.all_reduce(new)  # pyright: ignore[reportUnknownMemberType]
            kept.lerp_(new, 1 - self.decay)
            new.zero_()
        if (step + 1) % self.refresh == 0 and bool((self.weight > 0).all()):
            self.cdf.copy_(self.distribution())

    def curve(self) -> Float[Tensor, " bins"]:
        """Mean loss of each bin, zero where none was observed."""
        return (self.loss / self.weight).nan_to_num()

    def distribution(self) -> Float[Tensor, " edges"]:
        """F at the edges: a bin has the mean of the falls beside it, and its part of the floor."""
        monotone = isotonic_decreasing(self.curve().cpu().numpy(), self.weight.cpu().numpy())
        falls = -np.diff(monotone)
        density = np.concatenate(([falls[0]], (falls[:-1] + falls[1:]) / 2, [falls[-1]]))
        total = density.sum()
        density = density / total if total > 0 else np.full(self.bins, 1 / self.bins)
        density = (1 - self.floor) * density + self.floor / self.bins
        cdf = np.concatenate(([0.0], np.cumsum(density)))
        return torch.as_tensor(cdf / cdf[-1]).to(self.cdf.device)
