"""A model as the explorer of trajectories needs it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.records import Trajectory
from ..models.base import LanguageModel
from ..models.generation import GenerationConfig
from ..sampling.sampler import Sampler
from ..text.nearest import legal
from ..text.tokenizers import Tokenizer
from ..tokens import BOS
from .disturbances import Push, disturbed, solvers_of, undisturbed


@dataclass
class Writer:
    """A model as the explorer of trajectories needs it: its paths, and embeddings of real texts."""

    model: LanguageModel
    tokenizer: Tokenizer
    real: Int[Tensor, "texts n"]  # tokens of real texts
    count: int = 4
    cloud: Float[Tensor, "texts n d"] = field(init=False)
    log_snr: Callable[[Tensor], Tensor] | None = field(init=False, default=None)
    solvers: tuple[str, ...] = field(init=False)
    stepped: bool = field(init=False)  # whether the number of steps can be chosen

    def __post_init__(self):
        model = self.model
        self.solvers = solvers_of(model)
        self.stepped = "steps" in model.capabilities.options
        with torch.no_grad():
            self.cloud = model.embed(self.real)
        if model.capabilities.latent:
            self.log_snr = model.schedule.log_snr

    def paths(
        self,
        prompt: str,
        solver: str,
        steps: int,
        seed: int,
        moment: float,
        size: float | int,
        direction: int,
    ) -> tuple[tuple[Trajectory, ...], int]:
        """The plan and the index of the disturbance; if there is one, also the two other paths."""
        config = GenerationConfig(
            steps=steps if self.stepped else None, solver=solver if len(self.solvers) > 1 else None
        )
        sampler = Sampler(self.model, config)
        begins = None
        if prompt:
            tokens = self.tokenizer.encode(legal(prompt, self.tokenizer))
            begins = torch.tensor([[BOS, *tokens]])
        if not size:
            return (undisturbed(sampler, self.count, seed=seed, prompt=begins),), 0
        push = Push(moment, size, direction)
        found = disturbed(sampler, self.count, push, seed=seed, prompt=begins)
        return (found.plan, found.closed, found.replayed), found.at

    def pieces(self, ids: list[int]) -> list[str]:
        """The texts of ids."""
        return self.tokenizer.pieces(ids)
