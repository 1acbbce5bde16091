"""What `sample`, `evaluate` and `demo` share: a loaded model as a function that writes, and text
shaded by confidence.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import UserError, check_place, reason
from ..models.base import BOS, EOS, Generation, LanguageModel
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.manta import Manta
from ..models.masked import Masked
from ..models.vae import VAE
from ..text.nearest import legal
from ..text.tokenizers import SPECIALS, Tokenizer
from ..training.zoo import Loaded

Solver = Literal[
    "ancestral", "ddim", "euler", "heun", "confidence", "margin", "drawn", "paced"
]  # of all kinds of models
PATIENCE = 2.0  # seconds without a bar
STEPS = 32  # of a model in latent space, where nobody says how many
MOST_STEPS = 4096
LONGEST = 16  # times the length of training that a text may have
LARGEST = 2**28  # probabilities of words in memory
SURE, UNSURE, LOST = (
    "",
    "\x1b[38;5;109m",
    "\x1b[38;5;245m",
)  # the terminal's own color, pale blue, gray
END = "\x1b[0m"


def device() -> torch.device:
    """The device that models write on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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


def check_sizes(model: LanguageModel, steps: int | None, length: int) -> None:
    """Refuse numbers of steps and lengths of text that take hours or all memory and are of no use."""
    longest = LONGEST * model.config.length
    if length > longest:
        raise UserError(
            f"the model was trained on texts of {model.config.length} tokens and writes at most {longest}, not "
            f"{length}: lower --length"
        )
    if steps is not None and steps > MOST_STEPS:
        raise UserError(
            f"{steps} steps are more than any text needs: give --steps {MOST_STEPS} or fewer"
        )


def check_count(count: int, length: int, vocabulary: int) -> None:
    """Refuse more texts than the memory of a small machine holds the words' probabilities of."""
    most = LARGEST // (length * vocabulary)
    if count > most:
        raise UserError(
            f"{count} texts of {length} tokens at a time take too much memory: give --count {most} or less, and "
            "another --seed for more"
        )


@contextmanager
def watched(
    model: LanguageModel, steps: int | None, length: int, solver: str | None
) -> Iterator[None]:
    """Show a bar of the network's calls, in a terminal, where writing takes longer than `PATIENCE`
    seconds.
    """
    calls = (
        length
        if isinstance(model, GPT)
        else steps or (length if isinstance(model, Masked) else STEPS)
    )
    network = (
        model.denoiser
        if isinstance(model, LDLM)
        else model.policy
        if isinstance(model, Manta)
        else model.stack
    )
    with tqdm(
        desc="network calls",
        total=2 * calls if solver == "heun" else calls,
        delay=PATIENCE,
        leave=False,
        disable=None,
    ) as bar:
        hook = network.register_forward_hook(lambda *_: bar.update() and None)
        try:
            yield
        finally:
            hook.remove()


def writer(
    loaded: Loaded,
    *,
    steps: int | None = None,
    solver: str | None = None,
    length: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    prompt: str | None = None,
    lag: float | None = None,
    entropy_bound: float | None = None,
    record: bool = False,
    steered: dict | None = None,
):
    """A loaded model as a function (count, rng) -> `Generation`; refuses what its kind cannot do.

    Only what was asked for is passed on, so that the rest is the model's own; `steered` is what
    `cli.steering` says.
    """
    model, steered = loaded.model.to(device()), steered or {}
    if isinstance(model, VAE):
        raise UserError(
            "a VAE puts no words in order, so it writes no texts: name a Manta-LM, which steers in its space"
        )
    check_sizes(model, steps, length or model.config.length)
    if temperature is not None and not 0 <= temperature < math.inf:
        raise UserError(f"a temperature of {temperature} has no meaning: give 0 or more")
    if top_p is not None and not (isinstance(model, GPT | Masked) and 0 < top_p <= 1):
        raise UserError(
            "--top-p is a share above 0, of the words of a GPT or a masked model: leave it out for another model"
        )
    for name, flag, value in (
        ("a lag", "--lag", lag),
        ("an entropy bound", "--entropy-bound", entropy_bound),
    ):
        if value is not None and not isinstance(model, Manta):
            raise UserError(f"only a Manta-LM writes with {name}: leave out {flag}")
        if value is not None and not 0 <= value < math.inf:
            raise UserError(f"{name} of {value} has no meaning: give 0 or more")
    if prompt is not None and "prompt" in steered:
        raise UserError("--infill and --repair give the whole text: leave out --prompt")
    wanted = {
        "steps": steps,
        "solver": solver,
        "length": length,
        "temperature": temperature,
        "top_p": top_p,
        "lag": lag,
        "entropy_bound": entropy_bound,
    }
    asked = {name: value for name, value in wanted.items() if value is not None}
    if prompt or isinstance(model, GPT | Masked):
        asked["prompt"] = torch.tensor(
            [[BOS, *loaded.tokenizer.encode(legal(prompt or "", loaded.tokenizer))]]
        )
    asked |= steered
    asked |= {name: asked[name].to(model.device) for name in ("prompt", "mask") if name in asked}
    if isinstance(model, GPT):
        if steps is not None or solver is not None:
            raise UserError("a GPT calls its network once a token: leave out --steps and --solver")
    else:
        asked["record"] = record

    def write(count: int, rng: torch.Generator) -> Generation:
        check_count(count, length or model.config.length, model.config.vocabulary)
        return model.generate(count, rng=rng, **asked)

    return write


@torch.no_grad()
def confidence(loaded: Loaded, written: Generation) -> Tensor:
    """The model's probability of each token (batch, length): p(w_i | w_<i) of a GPT, the decoder's
    own otherwise.
    """
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
    return joiner.join(
        f"{color}{piece}{END}" if color else piece for color, piece in zip(colors, pieces)
    )
