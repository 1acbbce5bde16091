"""What a Manta-LM is made of, and how it is trained."""

from dataclasses import dataclass, field
from typing import Literal

from ..errors import UserError
from ..nets.vector_field import VectorFieldConfig
from .generation import MantaGeneration
from .vae import VAEConfig


@dataclass(frozen=True)
class MantaLMConfig:
    """Sizes of a Manta-LM and the choices of its policy."""

    vocab_size: int = 265  # tokens, specials included
    seq_len: int = 64  # text in tokens, padding included
    d_model: int = 128  # channels inside the policy
    n_heads: int = 4  # heads of its operators
    n_layers: int = 6  # blocks
    kernel: Literal["attention", "spectral", "slice", "causal"] = (
        "attention"  # of the integral operators
    )
    head: Literal["tokens", "denoised"] = (
        "tokens"  # a token posterior, whose codes make z_hat, or z_hat itself
    )
    terminal: Literal["pinned", "soft"] = "pinned"  # end at z_hat, or pay for the terminal error
    least_time: float = 0.02  # of the pinned control, which divides by max(1 - t, this)
    terminal_weight: float = 50.0  # c of the soft terminal cost
    coupling: Literal["independent", "optimal"] = (
        "independent"  # which noise goes with which text in training
    )
    time_distribution: Literal["adaptive", "uniform", "logit_normal"] = (
        "adaptive"  # of a position's noise level in training, and of the grid
    )
    blocks: bool = (
        False  # train all blocks of a text at once, beside the text, whose tokens then see no noise
    )
    max_offset: float = 5.0  # largest schedule offset in training; 0: one noise level a text
    fully_parallel_fraction: float = 0.1  # fraction of texts trained with one noise level
    next_token_fraction: float = (
        0.0  # fraction of texts trained from noise alone, given the tokens before: a GPT's task
    )
    next_token_steps: int = 0  # training steps before which all texts are trained so
    block_size: int = 1  # most next tokens that are predicted at once, each without the others
    observed_fraction: float = 0.15  # fraction of texts trained with observed tokens, for infilling
    self_condition: bool = False  # also show the policy its last z_hat
    generation: MantaGeneration = field(default_factory=MantaGeneration)  # how texts are drawn
    space: VAEConfig = field(default_factory=VAEConfig)  # the VAE, trained before


def check_config(c: MantaLMConfig) -> None:
    """Refuse choices that do not go together."""
    if c.space.n_encoder_layers:
        raise UserError(
            "a policy needs codes of tokens that do not depend on their neighbors: train its VAE "
            "with --model.n-encoder-layers 0"
        )
    if c.head == "tokens" and c.coupling != "independent":
        raise UserError(
            "a head over tokens needs noise that does not depend on the text: "
            "take --model.head denoised"
        )
    if c.blocks and (c.kernel not in ("attention", "causal") or c.self_condition):
        raise UserError(
            "blocks beside a text need a kernel that is a sum over positions, attention or causal, "
            "and no self-condition: take --model.no-blocks"
        )


def field_config(c: MantaLMConfig) -> VectorFieldConfig:
    """The sizes of the network of the policy."""
    return VectorFieldConfig(
        latent=c.space.latent,
        vocab_size=c.vocab_size,
        d_model=c.d_model,
        n_heads=c.n_heads,
        n_layers=c.n_layers,
        kernel=c.kernel,
        max_gap=c.block_size if c.block_size > 1 else 0,
        pointer=c.head == "tokens",
    )
