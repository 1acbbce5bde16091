"""Quality against calls: tales by the shipped models with few and many steps, 3 seeds.

    OMP_NUM_THREADS=1 python benchmarks/quality.py --out benchmarks/results/quality.json

A finished row is kept in the file; a second start goes on. Chapter 13 reads the file.
"""

import argparse
from pathlib import Path

import torch
from rows import begun, keep

from minildm.cli.writing import writer
from minildm.evaluation.diversity import distinct
from minildm.evaluation.scorecard import validity
from minildm.training.zoo import load

PARALLEL = (64, 32, 16, 8)  # steps
WAYS = {  # name -> model, what to ask of it, steps
    "manta": ("manta-tales", {}, PARALLEL),
    "manta, temperature 1": ("manta-tales", {"temperature": 1.0}, (32,)),
    "manta, lag 2": ("manta-tales", {"lag": 2.0}, PARALLEL),
    "manta, no lag": ("manta-tales", {"lag": 0.0}, (32,)),
    "manta, lag 2, euler": ("manta-tales", {"lag": 2.0, "solver": "euler"}, (32,)),
    "manta, lag 16, drawn": ("manta-tales", {"lag": 16.0, "solver": "drawn"}, (64,)),
    "masked": ("masked-tales", {}, PARALLEL),
    "masked, temperature 0.5": ("masked-tales", {"temperature": 0.5}, PARALLEL),
    "masked, surest first": ("masked-tales", {"solver": "confidence"}, PARALLEL),
    "ldlm": ("ldlm-tales", {}, PARALLEL),
    "ldlm, temperature 1": ("ldlm-tales", {"temperature": 1.0}, (32,)),
    "ldlm-brief": ("ldlm-brief", {}, PARALLEL),
    "gpt": ("gpt-tales", {}, (None,)),
    "gpt, temperature 0.5": ("gpt-tales", {"temperature": 0.5}, (None,)),
    "ldlm-matched": ("ldlm-matched", {}, (32,)),
    "manta-brief": ("manta-brief", {}, (32,)),
    "masked-brief": ("masked-brief", {}, (64,)),
    "gpt-brief": ("gpt-brief", {}, (None,)),
}
SEEDS = 3


def row(name: str, steps: int | None, seed: int, count: int) -> dict:
    """One way of writing with one number of steps."""
    model, ask, _ = WAYS[name]
    loaded = load(model, frozen=False)
    written = writer(loaded, steps=steps, **ask)(count, torch.Generator().manual_seed(seed))
    scores = validity([loaded.tokenizer.decode(line) for line in written.tokens.tolist()])
    kept = (
        "grammatical",
        "consistent",
        "law_nats_per_token",
        "error_entity",
        "error_species",
        "error_ending",
    )
    variety = {"distinct_4": distinct(written.tokens.numpy(), 4, loaded.tokenizer.size)}
    return {
        "way": name,
        "model": model,
        "steps": steps,
        "seed": seed,
        "count": count,
        "calls": written.calls,
        **{k: scores[k] for k in kept if k in scores},
        **variety,
    }


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/quality.json"))
    flags.add_argument("--count", type=int, default=128, help="tales a row")
    given = flags.parse_args()
    torch.set_num_threads(1)
    study = begun(given.out)
    done = {(r["way"], r["steps"], r["seed"]) for r in study["rows"]}
    todo = [
        (seed, name, steps)
        for seed in range(SEEDS)
        for name, (_, _, grid) in WAYS.items()
        for steps in grid
    ]
    for seed, name, steps in todo:
        if (name, steps, seed) not in done:
            keep(given.out, study, row(name, steps, seed, given.count))


if __name__ == "__main__":
    main()
