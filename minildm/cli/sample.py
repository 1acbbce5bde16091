"""`minildm sample`: texts by a trained model, shaded by its confidence where a terminal shows them."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import save_file

from ..errors import UserError, write_atomically
from ..models.gpt import GPT
from ..models.steering import insist
from ..training.zoo import load
from .parsing import parse_flags
from .steering import steered
from .writing import Solver, check_file, confidence, device, shaded, watched, writer


@dataclass(frozen=True)
class SampleFlags:
    """Write texts with a trained model. In a terminal, words it was less sure of are paler."""

    model: tyro.conf.Positional[str]  # a model of the zoo, or the folder of a run or a checkpoint
    count: int = 4  # texts, or versions of each text of --repair
    steps: int | None = (
        None  # solver steps, by default 32, and of a masked model as many as there are tokens
    )
    solver: Solver | None = (
        None  # ancestral; masked confidence, margin; LDLM ddim, euler, heun; Manta euler, drawn, paced
    )
    length: int | None = None  # longest text in tokens, by default that of training
    prompt: str | None = None  # how the texts begin
    temperature: float | None = (
        None  # of the law over words, or of an LDLM's noise; by default the model's own, else 1
    )
    top_p: float | None = (
        None  # of a GPT and a masked model: draw from the most probable words that have this mass
    )
    lag: float | None = (
        None  # of a Manta-LM: how far the rear of a text is behind its front, by default its own; 0: together
    )
    entropy_bound: float | None = (
        None  # of a Manta-LM's solver paced: nats of words drawn at one look, by default its own
    )
    infill: str | None = (
        None  # a text with gaps, ____ or ____{5} for one of 5 tokens; for all but a GPT
    )
    gap: int | None = (
        None  # tokens of each ____, 1 for one a blank; by default all fill three quarters of the length
    )
    repair: Path | None = (
        None  # file of texts (UTF-8, one a paragraph) whose doubtful words are written anew; all but a GPT
    )
    back: float | None = (
        None  # of a repair by an LDLM or a Manta-LM: write all anew from this share of the way to text
    )
    guide: str | None = None  # a word that should be said, for an LDLM and a Manta-LM
    strength: float | None = None  # of the wish of --guide, by default 1, Bayes' rule
    tries: int | None = (
        None  # how often a text of --guide is written until it says the word, by default once
    )
    seed: int = 0  # of all randomness
    record: Path | None = None  # file for the recorded path, safetensors, for all but a GPT


def main(argv: list[str]) -> None:
    """Load, write, print."""
    flags = parse_flags(SampleFlags, argv, "minildm sample")
    if not 0 <= flags.seed < 2**63:
        raise UserError(f"--seed must be from 0 to {2**63 - 1}, not {flags.seed}")
    loaded = load(flags.model, frozen=any((flags.repair, flags.infill, flags.prompt)))
    if flags.record and isinstance(loaded.model, GPT):
        raise UserError("a GPT has no path from noise to text: leave out --record")
    if flags.record:
        check_file(flags.record)
    show = sys.stdout.isatty()
    recorded = flags.record is not None
    edit = steered(
        loaded,
        flags.count,
        length=flags.length,
        infill=flags.infill,
        gap=flags.gap,
        repair=flags.repair,
        back=flags.back,
        guide=flags.guide,
        strength=flags.strength,
        tries=flags.tries,
        prompt=flags.prompt,
        seed=flags.seed,
    )
    write = writer(
        loaded,
        steps=flags.steps,
        solver=flags.solver,
        length=flags.length,
        prompt=flags.prompt,
        temperature=flags.temperature,
        top_p=flags.top_p,
        lag=flags.lag,
        entropy_bound=flags.entropy_bound,
        record=show or recorded,
        steered=edit,
    )
    count = flags.count if flags.repair is None else len(edit["prompt"])
    rng = torch.Generator(device()).manual_seed(flags.seed)
    with watched(
        loaded.model, flags.steps, flags.length or loaded.model.config.length, flags.solver
    ):
        written = (
            write(count, rng)
            if flags.tries is None
            else insist(
                lambda left: write(left, rng),
                count,
                edit["wish"],
                flags.tries,
                loaded.tokenizer.size,
            )
        )
    rows = written.tokens.tolist()
    if show:
        texts = [
            shaded(loaded.tokenizer, *pair)
            for pair in zip(rows, confidence(loaded, written).tolist())
        ]
    else:
        texts = [loaded.tokenizer.decode(row) for row in rows]
    print("\n\n".join(texts))
    if recorded:
        path = {
            k: v.contiguous().cpu() for k, v in vars(written.trajectory).items() if v is not None
        }
        write_atomically(flags.record, lambda beside: save_file(path, beside))
