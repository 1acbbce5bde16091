"""A model that draws texts, as a controlled process: a policy, a start, a grid of times and a step.

In latent space the state is (batch, n, d) and a control is a velocity. In token space the state is
(batch, n) ids, and a control says which token to write where: -1 writes none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..dynamics.records import Trajectory
from ..dynamics.solvers import Step
from ..models.base import LanguageModel
from .config import Settings

AT_ONCE = 512  # texts that are decoded at a time


@runtime_checkable
class SamplingPolicy(Protocol):
    """A feedback policy (state, t) -> control that counts its network evaluations."""

    nfe: int

    def __call__(self, state: Tensor, t: Tensor, /) -> Tensor: ...

    def rewind(self, t: Tensor, /) -> None:
        """Drop what was seen at time t and later, because the process goes back to t."""
        ...


@dataclass(frozen=True)
class Request:
    """What a sampler is asked for, once it has been checked.

    With a `seed`, all random tokens are a function of the time and the position, so that two runs
    see the same noise; without one they are drawn from `rng` as they are needed.
    """

    config: Settings
    given: Int[Tensor, "batch n"]  # tokens that are given, padding elsewhere
    observed: Bool[Tensor, "batch n"]  # where they are given
    rng: torch.Generator
    seed: int | None = None
    record: bool = False  # keep what the policy predicts

    @property
    def count(self) -> int:
        return len(self.given)

    @property
    def length(self) -> int:
        return self.given.shape[1]


@dataclass
class Process:
    """What `dynamics.integrate` and `control.feedback.rollout` need to draw texts with a model."""

    policy: SamplingPolicy
    start: Tensor  # (batch, n, d) latents or (batch, n) tokens
    times: Float[Tensor, "time ..."]
    step: Step
    read: Callable[[Tensor], tuple[Tensor, Tensor]]  # (time, batch, ...) -> tokens, probabilities
    recorded: Callable[[Trajectory], Trajectory]  # a path with all that was predicted on it
    end: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # (state, control, t) -> latents


@singledispatch
def process_of(model: LanguageModel, request: Request) -> Process:
    """The process by which a model draws texts; a model's own is registered for its class.

    Args:
        model: The model.
        request: What is asked for.

    Returns:
        A `Process`.
    """
    raise NotImplementedError(f"no process is registered for {type(model).__name__}")


def over_time(
    decode: Callable[[Tensor], tuple[Tensor, Tensor]], request: Request
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A decoder of states (batch, ...) as one of paths (time, batch, ...) that keeps given tokens.

    Args:
        decode: States -> tokens and their probabilities, (batch, n).
        request: Says which tokens are given.

    Returns:
        A function of paths.
    """

    def read(states: Tensor) -> tuple[Tensor, Tensor]:
        parts = [decode(part) for part in torch.split(states.flatten(0, 1), AT_ONCE)]
        tokens = torch.cat([part[0] for part in parts]).reshape(*states.shape[:2], -1)
        sure = torch.cat([part[1] for part in parts]).reshape(*states.shape[:2], -1)
        return request.given.where(request.observed, tokens), sure.masked_fill(request.observed, 1)

    return read
