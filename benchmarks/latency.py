"""Time to write with the four shipped models at one quality: batches of 1 and 64, texts of 64, 256 and 1024 tokens.

    OMP_NUM_THREADS=1 python benchmarks/latency.py --out benchmarks/results/latency.json

Quality is the grammatical share at 64 tokens, read from results/quality.json: each parallel model gets the fewest steps with
which at least 95% of its tales are grammatical, the masked model by revealing its surest words first, and the GPT a step a
token. At greater lengths the steps that 64 tokens need are kept ("same") or grow with the length ("grown"); no model was
trained there, so these rows are about time alone, and Manta-LM writes with an entropy bound of 0, so that no text ends early.
Calls of the masked model and the LDLM cost the same, so two short runs give their price; Manta-LM and GPT, which keep what
they have read, run to the end. Rounds alternate between the models.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean, median

import torch
from rows import write

import minildm.models.gpt
from minildm.training.zoo import load

RESULTS = Path(__file__).parent / "results"
LENGTHS, BATCHES, ROUNDS = (64, 256, 1024), (1, 64), 3
TARGET = 0.95  # grammatical share
WAYS = {
    "manta": ("manta-tales", "manta"),
    "ldlm": ("ldlm-tales", "ldlm"),
    "masked": ("masked-tales", "masked, surest first"),
}
ASKED = {"ldlm": {}, "masked": {"solver": "confidence"}}
SHORT = 2  # steps of the shorter run; the longer has twice as many


def quality() -> dict[tuple[str, int | None], float]:
    """Grammatical share of each way of writing, by its steps, a mean over seeds."""
    shares: dict[tuple, list[float]] = {}
    for row in json.loads((RESULTS / "quality.json").read_text())["rows"]:
        shares.setdefault((row["way"], row["steps"]), []).append(row["grammatical"])
    return {key: fmean(values) for key, values in shares.items()}


def fewest_steps(shares: dict) -> dict[str, int]:
    """The fewest steps with which each parallel model reaches the target."""
    enough = {
        way: [
            steps for (name, steps), share in shares.items() if name == listed and share >= TARGET
        ]
        for way, (_, listed) in WAYS.items()
    }
    for way in [way for way, steps in enough.items() if not steps]:
        sys.exit(
            f"no row of quality.json has {way} at {TARGET:.0%} grammatical tales: add rows with more steps"
        )
    return {way: min(steps) for way, steps in enough.items()}


def timed(model, batch: int, length: int, seed: int, **asked) -> tuple[float, int]:
    """Seconds and calls of one run."""
    written = model.generate(batch, rng=torch.Generator().manual_seed(seed), length=length, **asked)
    return written.seconds, written.calls


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/latency.json"))
    given = flags.parse_args()
    torch.set_num_threads(1)
    minildm.models.gpt.EOS = -1  # a GPT that goes on to the end of the length, as the others do
    shares = quality()
    steps = fewest_steps(shares)
    models = {way: load(name, frozen=False).model for way, (name, _) in WAYS.items()}
    manta, gpt, rows = models.pop("manta"), load("gpt-tales").model, []
    for length in LENGTHS:
        bound = {"entropy_bound": 0.0} if length > min(LENGTHS) else {}
        whole = {
            f"manta, {name}": (manta, {"steps": n} | bound)
            for name, n in (("same", steps["manta"]), ("grown", steps["manta"] * length // 64))
        } | {"gpt": (gpt, {})}
        for batch in BATCHES:
            price: dict[str, list] = {way: [] for way in models}
            runs: dict[str, list] = {way: [] for way in whole}
            for turn in range(1 if batch * length > 10_000 else ROUNDS):
                for way, model in models.items():
                    short, long = (
                        timed(model, batch, length, turn, steps=SHORT * k, **ASKED[way])[0]
                        for k in (1, 2)
                    )
                    price[way].append((max(short - (long - short), 0), (long - short) / SHORT))
                for way, (model, asked) in whole.items():
                    runs[way].append(timed(model, batch, length, turn, **asked))
            row = {"length": length, "batch": batch}
            for way, found in price.items():
                fixed, call = (median(values) for values in zip(*found))
                for name, calls in (("same", steps[way]), ("grown", steps[way] * length // 64)):
                    row[f"{way}, {name}"] = {
                        "calls": calls,
                        "call": call,
                        "seconds": fixed + calls * call,
                    }
            for way, found in runs.items():
                seconds, calls = (median(values) for values in zip(*found))
                row[way] = {"calls": calls, "seconds": seconds}
            rows.append(row)
            print(json.dumps(row), flush=True)
    listed = {f"{way}, {n}": share for (way, n), share in shares.items()}
    study = {"target": TARGET, "steps": steps, "shares": listed, "rows": rows}
    write(given.out, study)


if __name__ == "__main__":
    main()
