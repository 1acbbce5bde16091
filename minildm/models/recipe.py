"""The recipe of LDLM: four ingredients that make joint training work, each a switch, and the
warm-up between them.
"""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """The four ingredients of LDLM, and how latents are normalized."""

    decoder_loss: Literal["mse", "cross_entropy"] = (
        "mse"  # what trains the latent decoder: states, or tokens through it
    )
    warmup: int = 1000  # steps over which diffusion is let into the encoder; 0: from the first step
    adaptive_time: bool = True  # draw times where the loss falls, else uniformly
    decoder_noise: float = 1.0  # std of the noise on the decoder's input in training, sigma_dec
    latent_norm: Literal["rms", "running", "none"] = (
        "rms"  # each latent to RMS 1, all by their running std, or not at all
    )
    encoder_pull: float = (
        1.0  # gamma after the warm-up: share of the diffusion gradient that reaches the encoder
    )
    draws: int = 1  # times and noises at which each text is denoised in a step, while it is encoded and decoded once


NAIVE = Recipe(decoder_loss="cross_entropy", warmup=0, adaptive_time=False, decoder_noise=0.0)


def gamma(step: int, warmup: int, least: float = 0.001, k: float = 10.0, c: float = 0.8) -> float:
    """Share of the diffusion gradient that reaches the encoder: a sigmoid from `least` to 1 over
    the warm-up.

    gamma(s) = g + (1 - g) [S(k(s/W - c)) - S(-kc)] / [S(k(1-c)) - S(-kc)] for s < W, then 1, with S
    the logistic function

    Args:
        step: s.
        warmup: W in steps.
        least: g.
        k: Steepness.
        c: Center.

    Returns:
        Gamma in [g, 1].

    Derived in chapter 12. Source: LDLM [OD, 2.2].
    """
    if step >= warmup:
        return 1.0

    def logistic(x):
        return 1 / (1 + math.exp(-x))

    low, high = logistic(-k * c), logistic(k * (1 - c))
    return least + (1 - least) * (logistic(k * (step / warmup - c)) - low) / (high - low)
