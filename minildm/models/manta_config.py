"""What a Manta-LM is made of, how it is trained, and how it writes if nothing else is asked."""

from dataclasses import dataclass, field
from typing import Literal

from .vae import VAEConfig


@dataclass(frozen=True)
class MantaConfig:
    """Sizes of a Manta-LM and the choices of its policy."""

    vocabulary: int = 265  # tokens, specials included
    length: int = 64  # text in tokens, padding included
    width: int = 128  # channels inside the policy
    heads: int = 4  # heads of its operators
    layers: int = 6  # blocks
    kernel: Literal["attention", "spectral", "slice", "causal"] = (
        "attention"  # of the integral operators
    )
    head: Literal["words", "clean"] = (
        "words"  # a law over words, whose codes make z_hat, or z_hat itself
    )
    law: Literal["pinned", "soft"] = "pinned"  # be at z_hat when t = 1, or pay for a miss
    least_time: float = 0.02  # of the pinned law, which divides by max(1 - t, this)
    miss: float = 50.0  # c of the soft law, the price of a miss
    coupling: Literal["independent", "optimal"] = (
        "independent"  # which noise goes with which text in training
    )
    times: Literal["adaptive", "uniform", "logit_normal"] = (
        "adaptive"  # law of a position's time, in training and on grids
    )
    windows: bool = (
        False  # train all windows of a text at once, beside the text, whose words then see no noise
    )
    lag: float = 5.0  # largest lag seen in training; 0: all positions travel together
    together: float = 0.1  # share of texts trained without a lag
    told: float = (
        0.0  # share of texts trained word by word, from noise, after the words before: a GPT's task
    )
    told_first: int = 0  # training steps before which all texts are
    ahead: int = 1  # largest number of words that are told at once, each without the others
    known: float = 0.15  # share of texts trained with words that are known already, for infilling
    self_condition: bool = False  # also show the policy its last z_hat
    writing_solver: Literal["ancestral", "euler", "drawn", "paced"] = (
        "ancestral"  # by which texts are written
    )
    writing_bound: float = 0.02  # of the entropy of words that solver paced draws at one look
    writing_lag: float = 2.0  # lag with which texts are written
    writing_temperature: float = 0.5  # of the law over words with which texts are written
    space: VAEConfig = field(default_factory=VAEConfig)  # the VAE, trained before
