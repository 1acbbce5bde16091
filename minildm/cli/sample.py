"""`minildm sample`: texts by a trained model, in a terminal shaded by its confidence."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import save_file

from ..api.limits import check_count, check_writes, device
from ..errors import UserError, write_atomically
from ..pretrained import load
from .given import GivenFlags, given
from .parsing import parse_flags
from .writing import DrawingFlags, check_file, confidence, shaded, watched_sampler


@dataclass(frozen=True)
class SampleFlags(DrawingFlags, GivenFlags):
    """Write texts with a trained model. In a terminal, tokens it was less sure of are paler."""

    model: tyro.conf.Positional[str]  # a model of the zoo, or the folder of a run or a checkpoint
    count: int = 4  # texts, or versions of each text of --repair
    seed: int = 0  # of all randomness
    record: Path | None = None  # file for the recorded path, safetensors


def main(argv: list[str]) -> None:
    """Load, write, print."""
    flags = parse_flags(SampleFlags, argv, "minildm sample")
    if not 0 <= flags.seed < 2**63:
        raise UserError(f"--seed must be from 0 to {2**63 - 1}, not {flags.seed}")
    loaded = load(flags.model, frozen=any((flags.repair, flags.infill, flags.prompt)))
    model = loaded.model
    check_writes(model)
    if flags.record:
        check_file(flags.record)
    asked = given(loaded, flags, flags.config, flags.count, flags.seed)
    show = sys.stdout.isatty()
    count = flags.count if flags.repair is None else len(asked.tokens["prompt"])
    rng = torch.Generator(device()).manual_seed(flags.seed)
    with watched_sampler(model, asked.config) as sampler:
        check_count(max(count, 1), sampler.config.length, model.config.vocab_size)
        tokens = {name: rows.to(model.device) for name, rows in asked.tokens.items()}
        record = flags.record is not None or (show and not model.causal)
        made = sampler(count, rng=rng, record=record, **tokens)
    rows = made.tokens.tolist()
    if show:
        sure = confidence(model, made).tolist()
        texts = [shaded(loaded.tokenizer, *pair) for pair in zip(rows, sure)]
    else:
        texts = [loaded.tokenizer.decode(row) for row in rows]
    print("\n\n".join(texts))
    if flags.record:
        path = {k: v.contiguous().cpu() for k, v in vars(made.trajectory).items() if v is not None}
        write_atomically(flags.record, lambda beside: save_file(path, beside))
