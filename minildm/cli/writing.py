"""What `sample`, `evaluate` and `demo` share: flags of drawing, a sampler, and shaded text."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..api.limits import check_sizes, check_writes, device
from ..api.measuring import PATIENCE
from ..errors import UserError, check_place, reason
from ..models.base import Generation, LanguageModel
from ..models.generation import GenerationConfig
from ..sampling import Sampler
from ..text.tokenizers import Tokenizer
from ..tokens import EOS, NUM_SPECIALS

SURE = ""  # the terminal's own color
UNSURE = "\x1b[38;5;109m"  # pale blue
LOST = "\x1b[38;5;245m"  # gray
END = "\x1b[0m"


@dataclass(frozen=True, kw_only=True)
class DrawingFlags:
    """How texts are drawn; what is left out is as the model does by default."""

    steps: int | None = None  # solver steps: 32, or of a masked model one a token
    solver: str | None = None  # of the model's; a wrong one is answered with those there are
    length: int | None = None  # longest text in tokens: that of training
    temperature: float | None = None  # of token probabilities, or of an LDLM's noise
    top_p: float | None = None  # GPT, masked model: mass of the tokens that are drawn from
    offset: float | None = None  # Manta-LM: by how much the last position is behind the first
    entropy_bound: float | None = None  # Manta-LM: nats of tokens that are drawn together
    horizon: int | None = None  # receding horizon: latents under way at once
    refinements: int | None = None  # receding horizon: evaluations that each of them takes

    @property
    def config(self) -> GenerationConfig:
        """What the flags ask for."""
        return GenerationConfig(
            steps=self.steps,
            solver=self.solver,
            length=self.length,
            temperature=self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            offset=self.offset,
            entropy_bound=self.entropy_bound,
            horizon=self.horizon,
            refinements=self.refinements,
        )


def check_file(path: Path) -> None:
    """Refuse a file that cannot be written, before the work whose result it takes."""
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder: name a file")
    check_place(path.parent)
    try:
        with suppress(FileNotFoundError):
            os.lstat(f"{path.name}.tmp")  # the name it has until it is whole
    except OSError as fault:
        raise UserError(
            f"no file can be called {path.name} ({reason(fault)}): choose another name"
        ) from None


@contextmanager
def watched_sampler(model: LanguageModel, config: GenerationConfig) -> Iterator[Sampler]:
    """A sampler with a bar of its steps, in a terminal, where it takes longer than `PATIENCE`."""
    check_writes(model)
    check_sizes(model, config)
    bar = tqdm(desc="steps", delay=PATIENCE, leave=False, disable=None)

    def progress(total: int) -> None:
        if bar.total is None:
            bar.reset(total)
        bar.update()

    with bar:
        yield Sampler(model.to(device()), config, progress)


@torch.no_grad()
def confidence(model: LanguageModel, made: Generation) -> Tensor:
    """The probability of each token (batch, length), exact where the model reads left to right."""
    if model.causal:
        return (-model.token_nll(made.tokens)).exp().cpu()
    path = made.trajectory
    assert path is not None and path.confidence is not None  # it was recorded
    return path.confidence[-1].cpu()


def shaded(tokenizer: Tokenizer, row: list[int], sure: list[float]) -> str:
    """A text for a terminal, whose tokens are paler below the probabilities 0.9 and 0.5."""
    text = tokenizer.decode(row)
    end = row.index(EOS) if EOS in row else len(row)
    kept = [(i, c) for i, c in zip(row[:end], sure) if i >= NUM_SPECIALS]
    pieces = [tokenizer.piece(i) for i, _ in kept]
    joiner = next((j for j in (" ", "") if j.join(pieces) == text), None)
    if joiner is None:  # this tokenizer's pieces do not simply add up to its text
        return text
    colors = [SURE if c >= 0.9 else UNSURE if c >= 0.5 else LOST for _, c in kept]
    shades = zip(colors, pieces)
    return joiner.join(f"{color}{piece}{END}" if color else piece for color, piece in shades)
