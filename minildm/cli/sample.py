"""`minildm sample`: texts by a trained model, shaded by its confidence where a terminal shows them."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from safetensors.torch import save_file

from ..models.gpt import GPT
from ..training.zoo import load
from .writing import confidence, device, shaded, write_atomically, writer


@dataclass(frozen=True)
class SampleFlags:
    """Write texts with a trained model. In a terminal, words it was less sure of are paler."""

    model: tyro.conf.Positional[str]  # a model of the zoo, or the folder of a run or a checkpoint
    count: int = 4  # texts
    steps: int | None = None  # solver steps, by default 32 of an LDLM and the length of a masked text
    solver: Literal["ancestral", "ddim", "euler", "heun", "confidence", "margin"] | None = None  # by default ancestral;
    # ddim, euler and heun are an LDLM's, confidence and margin a masked model's
    length: int | None = None  # longest text in tokens, by default that of training
    prompt: str | None = None  # how the texts begin, for a GPT
    temperature: float = 1.0  # of words for a GPT, of the initial noise for an LDLM
    seed: int = 0  # of all randomness
    record: Path | None = None  # file for an LDLM's recorded path, safetensors


def main(argv: list[str]) -> None:
    """Load, write, print."""
    flags = tyro.cli(SampleFlags, args=argv, prog="minildm sample")
    loaded = load(flags.model, frozen=False)
    show = sys.stdout.isatty()
    recorded = flags.record is not None
    write = writer(loaded, steps=flags.steps, solver=flags.solver, length=flags.length, prompt=flags.prompt,
                   temperature=flags.temperature, record=show or recorded or isinstance(loaded.model, GPT))
    written = write(flags.count, torch.Generator(device()).manual_seed(flags.seed))
    rows = written.tokens.tolist()
    if show:
        texts = [shaded(loaded.tokenizer, *pair) for pair in zip(rows, confidence(loaded, written).tolist())]
    else:
        texts = [loaded.tokenizer.decode(row) for row in rows]
    print("\n\n".join(texts))
    if recorded:
        path = {k: v.contiguous().cpu() for k, v in vars(written.trajectory).items()}
        write_atomically(flags.record, lambda beside: save_file(path, beside))
