"""The recipe of LDLM: four ingredients that make joint training work, and its warm-up."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Recipe:
    """The four ingredients of LDLM, and how latents are normalized."""

    decoder_loss: Literal["mse", "cross_entropy"] = "mse"  # that trains the decoder of states
    warmup: int = 1000  # steps over which diffusion is let into the encoder; 0: from the first step
    adaptive_time: bool = True  # draw times where the loss falls, else uniformly
    decoder_noise: float = 1.0  # std of the noise on the decoder's input in training, sigma_dec
    latent_norm: Literal["rms", "running", "none"] = "rms"  # a latent to RMS 1, or by running std
    encoder_gradient_scale: float = 1.0  # of the diffusion gradient in the encoder, after warm-up
    draws: int = 1  # times and noises of a text in a step, while it is encoded and decoded once


NAIVE = Recipe(decoder_loss="cross_entropy", warmup=0, adaptive_time=False, decoder_noise=0.0)


def gamma(
    step: int | Tensor, warmup: int, least: float = 0.001, k: float = 10.0, c: float = 0.8
) -> Tensor:
    """Fraction of the diffusion gradient that reaches the encoder: a sigmoid from `least` to 1.

    gamma(s) = g + (1 - g) [S(k(s/W - c)) - S(-kc)] / [S(k(1-c)) - S(-kc)] for s < W, then 1, with S
    the logistic function

    Args:
        step: s, a number, or a tensor that a CUDA graph reads anew at each step.
        warmup: W in steps.
        least: g.
        k: Steepness.
        c: Center.

    Returns:
        Gamma in [g, 1], one number in float64.

    Derived in chapter 12. Source: LDLM [OD, 2.2].
    """
    s = torch.as_tensor(step, dtype=torch.float64)
    x = torch.stack((s / max(warmup, 1), torch.zeros_like(s), torch.ones_like(s)))
    value, low, high = torch.sigmoid(k * (x - c))
    return torch.where(s < warmup, least + (1 - least) * (value - low) / (high - low), 1.0)
