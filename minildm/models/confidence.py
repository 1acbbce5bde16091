"""How sure a masked model is of a position, by which its solvers choose the masks to lift next."""

from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]  # (probabilities, drawn tokens) -> how sure it is


def top_probability(
    probs: Float[Tensor, "masked vocab_size"], choice: Int[Tensor, " masked"]
) -> Float[Tensor, " masked"]:
    """The probability of the drawn token, which favors likely tokens.

    Args:
        probs: (masked, vocab_size) of the masked positions.
        choice: (masked,) drawn tokens.

    Returns:
        (masked,).

    Source: MaskGIT 2202.04200.
    """
    return probs.gather(1, choice[:, None]).squeeze(1)


def margin(
    probs: Float[Tensor, "masked vocab_size"], choice: Int[Tensor, " masked"]
) -> Float[Tensor, " masked"]:
    """By how much the likeliest token leads, whatever was drawn.

    Args:
        probs: (masked, vocab_size) of the masked positions.
        choice: Not used.

    Returns:
        (masked,).

    Source: 2502.06768.
    """
    first, second = probs.topk(2, dim=1).values.T
    return first - second


SCORES: dict[str, Score] = {"confidence": top_probability, "margin": margin}  # by the solver
