"""What `sample`, `evaluate` and `demo` share: a loaded model as a function that writes, and text shaded by confidence."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import UserError
from ..models.base import BOS, EOS, Generation
from ..models.gpt import GPT
from ..models.manta import Manta
from ..models.masked import Masked
from ..models.vae import VAE
from ..text.nearest import legal
from ..text.tokenizers import SPECIALS, Tokenizer
from ..training.zoo import Loaded

Solver = Literal["ancestral", "ddim", "euler", "heun", "confidence", "margin", "drawn", "paced"]  # of all kinds of models
SURE, UNSURE, LOST = "", "\x1b[38;5;109m", "\x1b[38;5;245m"  # the terminal's own color, pale blue, gray
END = "\x1b[0m"


def device() -> torch.device:
    """The device that models write on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def write_atomically(path: Path, put: Callable[[Path], object]) -> None:
    """Let `put` write a file beside its place, then rename it."""
    beside = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(beside)
        beside.replace(path)
    except (OSError, SafetensorError) as fault:
        beside.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({fault}): choose another place") from None


def writer(loaded: Loaded, *, steps: int | None = None, solver: str | None = None, length: int | None = None,
           temperature: float | None = None, top_p: float | None = None, prompt: str | None = None,
           lag: float | None = None, entropy_bound: float | None = None, record: bool = False, steered: dict | None = None):
    """A loaded model as a function (count, rng) -> `Generation`; refuses what its kind cannot do.

    Only what was asked for is passed on, so that the rest is the model's own; `steered` is what `cli.steering` says.
    """
    model, steered = loaded.model.to(device()), steered or {}
    if isinstance(model, VAE):
        raise UserError("a VAE puts no words in order, so it writes no texts: name a Manta-LM, which steers in its space")
    if temperature is not None and not 0 <= temperature < math.inf:
        raise UserError(f"a temperature of {temperature} has no meaning: give 0 or more")
    if top_p is not None and not (isinstance(model, GPT | Masked) and 0 < top_p <= 1):
        raise UserError("--top-p is a share above 0, of the words of a GPT or a masked model: leave it out for another model")
    for name, flag, value in (("a lag", "--lag", lag), ("an entropy bound", "--entropy-bound", entropy_bound)):
        if value is not None and not isinstance(model, Manta):
            raise UserError(f"only a Manta-LM writes with {name}: leave out {flag}")
        if value is not None and not 0 <= value < math.inf:
            raise UserError(f"{name} of {value} has no meaning: give 0 or more")
    if prompt is not None and "prompt" in steered:
        raise UserError("--infill and --repair give the whole text: leave out --prompt")
    wanted = {"steps": steps, "solver": solver, "length": length, "temperature": temperature, "top_p": top_p,
              "lag": lag, "entropy_bound": entropy_bound}
    asked = {name: value for name, value in wanted.items() if value is not None}
    if prompt or isinstance(model, GPT | Masked):
        asked["prompt"] = torch.tensor([[BOS, *loaded.tokenizer.encode(legal(prompt or "", loaded.tokenizer))]])
    asked |= steered
    asked |= {name: asked[name].to(model.device) for name in ("prompt", "mask") if name in asked}
    if isinstance(model, GPT):
        if steps is not None or solver is not None:
            raise UserError("a GPT calls its network once a token: leave out --steps and --solver")
        return lambda count, rng: model.generate(count, rng=rng, **asked)
    return lambda count, rng: model.generate(count, rng=rng, record=record, **asked)


@torch.no_grad()
def confidence(loaded: Loaded, written: Generation) -> Tensor:
    """The model's probability of each token (batch, length): p(w_i | w_<i) of a GPT, the decoder's own otherwise."""
    if isinstance(loaded.model, GPT):
        nats = loaded.model.token_nats(written.tokens)
        return torch.cat((torch.ones_like(nats[:, :1]), (-nats).exp()), dim=1).cpu()
    return written.trajectory.confidence[-1].cpu()


def shaded(tokenizer: Tokenizer, row: list[int], sure: list[float]) -> str:
    """A text for a terminal: words the model was less sure of are paler, below 0.9 and below 0.5."""
    text = tokenizer.decode(row)
    end = row.index(EOS) if EOS in row else len(row)
    kept = [(i, c) for i, c in zip(row[:end], sure) if i >= len(SPECIALS)]
    pieces = [tokenizer.piece(i) for i, _ in kept]
    joiner = next((j for j in (" ", "") if j.join(pieces) == text), None)
    if joiner is None:  # this tokenizer's pieces do not simply add up to its text
        return text
    colors = [SURE if c >= 0.9 else UNSURE if c >= 0.5 else LOST for _, c in kept]
    return joiner.join(f"{color}{piece}{END}" if color else piece for color, piece in zip(colors, pieces))
