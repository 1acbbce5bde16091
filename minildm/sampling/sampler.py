"""The sampler: every text of every model is drawn by this object."""

import time
from collections.abc import Callable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..dynamics.records import Field
from ..dynamics.solvers import Step, integrate
from ..models.base import Generation, LanguageModel
from ..models.generation import GenerationConfig
from ..tokens import PAD
from .config import check_prompt, complete
from .process import Process, Request, process_of
from .rejection import rejection_sampling


class Sampler:
    """Draws texts from a model, as a `GenerationConfig` says.

        state_{k+1} = step(policy, state_k, t_k, t_{k+1})

    Args:
        model: The model, in evaluation mode.
        config: How texts are drawn; what it leaves open is as the model does by default.
        progress: Called after each step with the number of steps that there are.

    Raises:
        UserError: On a request that the model cannot meet.
    """

    def __init__(
        self,
        model: LanguageModel,
        config: GenerationConfig = GenerationConfig(),
        progress: Callable[[int], None] | None = None,
    ):
        self.model = model
        self.config = complete(config, model)
        self.progress = progress

    def process(
        self,
        count: int,
        rng: torch.Generator,
        prompt: Int[Tensor, "#count p"] | None = None,
        observed: Bool[Tensor, "#count p"] | None = None,
        seed: int | None = None,
        record: bool = False,
    ) -> Process:
        """The controlled process that draws texts.

        Args:
            count: Number of texts.
            rng: Generator of the noise that it starts from.
            prompt: Tokens (count or 1, p) that the texts begin with, or whole texts.
            observed: Where tokens of the prompt are given, (count or 1, p); by default all are.
            seed: Fixes the random tokens, so that two runs see the same noise.
            record: Keep what the policy predicts.

        Returns:
            A `Process`.

        Raises:
            UserError: On a prompt that does not fit.
        """
        length = self.config.length
        check_prompt(self.model, self.config, count, prompt, observed)
        given = torch.full((count, length), PAD, device=self.model.device)
        where = torch.zeros(count, length, dtype=torch.bool, device=self.model.device)
        if prompt is not None:
            given[:, : prompt.shape[1]] = prompt
            if not self.config.start:
                where[:, : prompt.shape[1]] = True if observed is None else observed
        request = Request(self.config, given, where, rng, seed, record)
        return process_of(self.model, request)

    def __call__(
        self,
        count: int,
        *,
        rng: torch.Generator,
        prompt: Int[Tensor, "#count p"] | None = None,
        observed: Bool[Tensor, "#count p"] | None = None,
        record: bool = False,
    ) -> Generation:
        """Draw texts; with `num_tries`, those that miss the guidance target are drawn again.

        Args:
            count: Number of texts.
            rng: Generator of all random numbers.
            prompt: Tokens (count or 1, p) that the texts begin with, or whole texts.
            observed: Where tokens of the prompt are given, (count or 1, p); by default all are.
            record: Also return the path.

        Returns:
            A `Generation`.

        Raises:
            UserError: On a prompt that does not fit.
        """

        def again(rows: Int[Tensor, " rows"]) -> Generation:
            tokens = prompt if prompt is None or len(prompt) == 1 else prompt[rows]
            where = observed if observed is None or len(observed) == 1 else observed[rows]
            return self.draw(len(rows), rng, tokens, where, record)

        target = self.config.guidance_target
        if target is None:
            return self.draw(count, rng, prompt, observed, record)
        vocab_size = self.model.config.vocab_size
        return rejection_sampling(again, count, target, self.config.num_tries, vocab_size)

    @torch.no_grad()
    def draw(
        self,
        count: int,
        rng: torch.Generator,
        prompt: Tensor | None,
        observed: Tensor | None,
        record: bool,
    ) -> Generation:
        """Draw each text once."""
        began = time.perf_counter()
        process = self.process(count, rng, prompt, observed, record=record)
        step = self.watched(process)
        path = integrate(process.policy, process.start, process.times, step, rng, record)
        tokens = process.read(path.states[-1:])[0][0]
        seconds = time.perf_counter() - began
        trajectory = process.recorded(path) if record else None
        return Generation(tokens, process.policy.nfe, seconds, trajectory)

    def watched(self, process: Process) -> Step:
        """The step of a process, which also reports progress."""
        progress = self.progress
        if progress is None:
            return process.step

        def step(
            field: Field, state: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
        ) -> Tensor:
            after = process.step(field, state, t, s, rng)
            progress(len(process.times) - 1)
            return after

        return step
