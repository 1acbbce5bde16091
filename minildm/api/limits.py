"""What is refused before texts are drawn: models that write none, and what takes all memory."""

import torch

from ..errors import UserError
from ..models.base import LanguageModel
from ..models.generation import GenerationConfig

MOST_STEPS = 4096
LONGEST = 16  # times the length of training that a text may have
LARGEST = 2**28  # probabilities of tokens in memory


def device() -> torch.device:
    """The device that models write on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_writes(model: LanguageModel) -> None:
    """Refuse a model that puts no tokens in order.

    Args:
        model: The model.

    Raises:
        UserError: When it is one.
    """
    if not model.capabilities.writes:
        raise UserError(
            f"{model.title} puts no tokens in order, so it writes no texts: name a Manta-LM, "
            "which steers in its space"
        )


def check_sizes(model: LanguageModel, config: GenerationConfig) -> None:
    """Refuse numbers of steps and tokens that take hours or all memory and are of no use.

    Args:
        model: The model.
        config: How texts are to be drawn.

    Raises:
        UserError: On a number that is too large.
    """
    trained = model.config.seq_len
    longest = LONGEST * trained
    if config.length is not None and config.length > longest:
        raise UserError(
            f"the model was trained on texts of {trained} tokens and writes at most {longest}, "
            f"not {config.length}: lower --length"
        )
    if config.steps is not None and config.steps > MOST_STEPS:
        raise UserError(
            f"{config.steps} steps are more than any text needs: give --steps {MOST_STEPS} or fewer"
        )


def check_count(count: int, length: int, vocab_size: int) -> None:
    """Refuse more texts than the memory of a small machine holds the token probabilities of.

    Args:
        count: Texts at a time.
        length: Their tokens.
        vocab_size: Probabilities of a token.

    Raises:
        UserError: When there are too many.
    """
    most = LARGEST // (length * vocab_size)
    if count > most:
        raise UserError(
            f"{count} texts of {length} tokens at a time take too much memory: give --count {most} "
            "or less, and another --seed for more"
        )
