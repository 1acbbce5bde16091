"""`minildm evaluate`: the scorecard of a trained model, as JSON and as lines with units."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import tyro

from ..api.measuring import measured
from ..errors import write_atomically
from ..evaluation.report import errors, lines
from ..pretrained import load, publish
from .parsing import parse_flags
from .writing import DrawingFlags, check_file


@dataclass(frozen=True)
class EvaluateFlags(DrawingFlags):
    """Measure what a trained model writes over several seeds, and what it knows of new texts."""

    model: tyro.conf.Positional[str]  # a model of the zoo, or the folder of a run or a checkpoint
    count: int = 512  # texts a seed
    seeds: int = 3  # how many seeds, from 0
    out: Path | None = None  # JSON file: scorecard.json in the run's folder, or runs/MODEL.json
    publish: str | None = None  # put the run into the zoo under this name, with these scores


def main(argv: list[str]) -> None:
    """Measure, print, write, and publish if asked to."""
    flags = parse_flags(EvaluateFlags, argv, "minildm evaluate")
    folder = Path(flags.model)
    name = folder.resolve().name
    out = flags.out or (
        folder / "scorecard.json" if os.path.isdir(folder) else Path("runs", f"{name}.json")
    )
    check_file(out)
    loaded = load(flags.model)
    tokenizer = loaded.tokenizer
    card = measured(loaded, flags.model, flags.count, flags.seeds, flags.config)
    if "mean" in card:
        print(
            f"{name}: {flags.count} texts of each of {flags.seeds} seeds, "
            "mean ± standard deviation over seeds"
        )
        print(
            "\n".join([*lines(card["mean"], tokenizer, card["spread"]), *errors(card["mean"])])
            + "\n"
        )
    print(f"{name}: held-out texts")
    print("\n".join(lines(card["held_out"], tokenizer)) or f"  not measured: {card['missing']}")
    write_atomically(out, lambda beside: beside.write_text(json.dumps(card, indent=1) + "\n"))
    print(f"\nwritten to {out}")
    if flags.publish:
        scores = {k: card[k] for k in ("mean", "spread", "held_out") if k in card}
        if "mean" in card:
            scores |= {"seeds": flags.seeds, "count": flags.count}
        print(f"published as {publish(folder, flags.publish, scores)}")
