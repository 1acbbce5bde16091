"""What may be asked of every language model: losses, likelihoods, figures, capabilities."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn as nn
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import move
from ..dynamics.records import Trajectory
from ..errors import UserError
from ..nets.frozen import FrozenEncoder
from ..transport.schedules import Schedule
from .generation import Capabilities, GenerationDefaults


@dataclass
class Losses:
    """Named scalar terms whose sum is minimized, and detached metrics that are only logged."""

    terms: dict[str, Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        first, *others = self.terms.values()
        return sum(others, start=first)


@dataclass
class Generation:
    """Texts drawn from a model."""

    tokens: Int[Tensor, "batch length"]
    nfe: int  # function evaluations of the network
    seconds: float
    trajectory: Trajectory | None = None  # if it was recorded


class LanguageModel(nn.Module):
    """A model of token sequences: what a caller may ask of any of them.

    Calling it gives its losses, so that it can be wrapped for data parallelism. A model type
    defines `losses`, `token_nll`, `held_out` and `capabilities`, and may define the rest.
    """

    config: Any  # the frozen dataclass of its sizes, with vocab_size and seq_len
    schedule: Schedule  # of the path from noise to latents, if its state is latents
    generation = GenerationDefaults(steps=None)  # how texts are drawn where nothing is asked for
    capabilities = Capabilities((), frozenset())
    title = "a model"  # its name in sentences
    causal = False  # it reads from left to right, so that `token_nll` is exact

    @classmethod
    def fit_config(cls, config: Any, name: str, part: Any) -> Any:
        """The configuration with the sizes that a pretrained `part`, called `name`, decides."""
        return config

    def calibrate(self, tokens: Int[Tensor, "batch length"]) -> None:
        """Measure on training texts, once before training, what is not learned."""

    def losses(
        self, tokens: Int[Tensor, "batch length"], *, step: int | Tensor, rng: torch.Generator
    ) -> Losses:
        """What is minimized at a step of training."""
        raise NotImplementedError

    def forward(
        self, tokens: Int[Tensor, "batch length"], *, step: int | Tensor, rng: torch.Generator
    ) -> Losses:
        return self.losses(tokens, step=step, rng=rng)

    def after_step(self, step: int) -> None:
        """Called once after each optimizer step, on every rank."""

    def token_nll(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator | None = None, parts: int = 8
    ) -> Float[Tensor, "b n"]:
        """-log p(w_i | the tokens that are shown) in nats, 0 at the first token and at padding.

        Args:
            tokens: w, (b, n) ids.
            rng: Generator of the noise, for models that see a text through noise.
            parts: Network evaluations of models that do not read from left to right.

        Returns:
            (b, n) nats.
        """
        raise NotImplementedError

    def embed(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b m d"]:
        """Texts as points of the space in which their drawing can be shown: latents, or embeddings.

        Args:
            tokens: (b, n) ids.

        Returns:
            (b, m, d).
        """
        raise NotImplementedError

    def decode_tokens(self, state: Tensor) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Most probable tokens of finished states, and their probabilities; tokens are themselves.

        Args:
            state: (b, n) ids, or (b, m, d) latents.

        Returns:
            Tokens and probabilities (b, n).
        """
        return state, torch.ones(state.shape, device=state.device)

    def held_out(self, batches: Iterable[Int[Tensor, "b n"]]) -> dict[str, float]:
        """Figures of texts that the model has not seen.

        Args:
            batches: (b, n) ids, of rows of one length.

        Returns:
            Figures by name; "nats_per_token" of a model with a likelihood or a bound on it.
        """
        raise NotImplementedError

    def card(self) -> dict:
        """What the card of a run says of the pretrained part that is not in its checkpoints."""
        return {}

    def as_encoder(self, layer: int, name: str, reach: int | None = None) -> FrozenEncoder:
        """This model as the frozen encoder of another one, not calibrated yet.

        Args:
            layer: In [embedding, block 1, ..., block L].
            name: Of this model, for sentences.
            reach: Tokens that each block reads before a token, or all.

        Returns:
            The encoder.

        Raises:
            UserError: When it has no states, or no such layer.
        """
        raise UserError(
            f"{name} is no GPT, so it has no states to reshape: name a GPT for --frozen"
        )

    def as_space(self, name: str) -> "LanguageModel":
        """This model as the latent space of another one.

        Args:
            name: Of this model, for sentences.

        Returns:
            The model.

        Raises:
            UserError: When it has no latent space.
        """
        raise UserError(
            f"{name} is no VAE, so it has no latent space to steer in: name a VAE for --vae"
        )

    def _apply(self, fn, recurse: bool = True) -> "LanguageModel":
        """Move and cast weights by `fn`; statistics in buffers move, but keep their precision."""
        statistics = {id(buffer): buffer for buffer in self.buffers()}  # which keeps them alive
        device = fn(torch.zeros(1)).device

        def apply(x: Tensor) -> Tensor:
            return move(x, device) if id(x) in statistics else fn(x)

        return super()._apply(apply, recurse)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def gumbel_noise(uniform: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Gumbel noise g = -log(-log u), with argmax(log p + g) an exact draw from p.

    Args:
        uniform: u in (0, 1), of any shape.

    Returns:
        g, of the same shape.
    """
    return -(-uniform.log()).log()


def gumbel(shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """Gumbel noise that a seed fixes.

    Args:
        shape: Of the noise.
        seed: Of its generator.
        device: Of the noise.

    Returns:
        g, of the shape.
    """
    rng = torch.Generator(device).manual_seed(seed)
    return gumbel_noise(torch.rand(shape, generator=rng, device=device).clamp(1e-12, 1 - 1e-7))


def mean_flat(x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    """Mean over all axes but the first."""
    return x.flatten(1).mean(1)
