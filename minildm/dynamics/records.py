"""The record of a path through state space; one time axis, everything a widget needs."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int, Shaped
from torch import Tensor

Field = Callable[
    [Tensor, Tensor], Tensor
]  # (state (batch, ...), time scalar) -> velocity (batch, ...)


@dataclass
class Trajectory:
    """A recorded path: times (time,), states (time, batch, ...), and for text the clean prediction,
    tokens and confidence.

    `clean` has the shape of `states`; `tokens` and `confidence` are (time, batch, length).
    """

    times: Float[Tensor, "time ..."]
    states: Shaped[Tensor, "time batch ..."]
    clean: Float[Tensor, "time batch ..."] | None = None
    tokens: Int[Tensor, "time batch length"] | None = None
    confidence: Float[Tensor, "time batch length"] | None = None
