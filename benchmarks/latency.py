"""Time to write with four models of the zoo at one quality, for two batch sizes and three lengths.

    OMP_NUM_THREADS=1 python benchmarks/latency.py --out benchmarks/results/latency.json

Quality is the fraction of grammatical tales at 64 tokens, as `minildm study ch13_quality` found it:
each parallel model gets the fewest steps with which at least 95% of its tales are grammatical, the
masked model by revealing its surest tokens first, and the GPT a step a token. At greater lengths the
steps that 64 tokens need are kept ("same") or grow with the length ("grown"). No model was trained
there, so these rows are about time alone, and Manta-LM writes with an entropy bound of 0, so that no
text ends early. Evaluations of the masked model and of the LDLM cost the same at all times, so two
short runs give their cost; Manta-LM and GPT, which keep what they have read, run to the end. Rounds
alternate between the models.
"""

import argparse
import sys
from pathlib import Path
from statistics import fmean, median

import torch

from minildm.models.base import Generation, LanguageModel
from minildm.models.generation import GenerationConfig
from minildm.pretrained import load
from minildm.sampling import Sampler, discrete
from minildm.studies.record import Record, results

LENGTHS = (64, 256, 1024)
BATCHES = (1, 64)
ROUNDS = 3
TARGET = 0.95  # fraction of grammatical tales
WAYS = {  # model -> its name in the zoo, its way of writing in ch13_quality
    "manta": ("manta-tales", "manta"),
    "ldlm": ("ldlm-tales", "ldlm"),
    "masked": ("masked-tales", "masked, surest first"),
}
SOLVERS = {"ldlm": None, "masked": "confidence"}
SHORT = 2  # steps of the shorter run; the longer has twice as many


def quality() -> dict[tuple[str, int | None], float]:
    """Fraction of grammatical tales of each way of writing, by its steps, a mean over seeds."""
    found: dict[tuple, list[float]] = {}
    for row in results("ch13_quality")["rows"]:
        found.setdefault((row["way"], row["steps"]), []).append(row["grammatical"])
    return {key: fmean(values) for key, values in found.items()}


def fewest_steps(grammatical: dict[tuple[str, int | None], float]) -> dict[str, int]:
    """The fewest steps with which each parallel model reaches the target."""
    fewest = {}
    for way, (_, listed) in WAYS.items():
        enough = [n for (name, n), x in grammatical.items() if name == listed and x >= TARGET]
        if not enough:
            sys.exit(f"no row of ch13_quality has {way} at {TARGET:.0%} grammatical tales")
        fewest[way] = min(enough)
    return fewest


def drawn(model: LanguageModel, batch: int, seed: int, config: GenerationConfig) -> Generation:
    """The texts of one run, with its seconds and network evaluations."""
    return Sampler(model, config)(batch, rng=torch.Generator().manual_seed(seed))


def cost_of_steps(
    model: LanguageModel, batch: int, seed: int, length: int, solver: str | None
) -> tuple[float, float]:
    """Seconds of a run without steps, and of each step, from two short runs."""
    short, long = (
        drawn(model, batch, seed, GenerationConfig(n * SHORT, solver, length)).seconds
        for n in (1, 2)
    )
    return max(short - (long - short), 0), (long - short) / SHORT


def measure(
    models: dict[str, LanguageModel], steps: dict[str, int], length: int, batch: int
) -> dict:
    """Seconds and network evaluations of all ways at one length and batch size."""
    bound = 0.0 if length > min(LENGTHS) else None
    grown = {way: n * length // min(LENGTHS) for way, n in steps.items()}
    whole = {
        "manta, same": GenerationConfig(steps["manta"], length=length, entropy_bound=bound),
        "manta, grown": GenerationConfig(grown["manta"], length=length, entropy_bound=bound),
        "gpt": GenerationConfig(length=length),
    }
    costs: dict[str, list] = {way: [] for way in SOLVERS}
    runs: dict[str, list] = {way: [] for way in whole}
    for turn in range(1 if batch * length > 10_000 else ROUNDS):
        for way, solver in SOLVERS.items():
            costs[way].append(cost_of_steps(models[way], batch, turn, length, solver))
        for way, config in whole.items():
            made = drawn(models[way.partition(",")[0]], batch, turn, config)
            runs[way].append((made.seconds, made.nfe))
    row: dict = {"length": length, "batch": batch}
    for way, found in costs.items():
        fixed, each = (median(values) for values in zip(*found))
        for name, nfe in (("same", steps[way]), ("grown", grown[way])):
            row[f"{way}, {name}"] = {"nfe": nfe, "each": each, "seconds": fixed + nfe * each}
    for way, found in runs.items():
        seconds, nfe = (median(values) for values in zip(*found))
        row[way] = {"nfe": nfe, "seconds": seconds}
    return row


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/latency.json"))
    out = flags.parse_args().out
    torch.set_num_threads(1)
    discrete.EOS = -1  # a GPT that goes on to the end of the length, as the others do
    grammatical = quality()
    steps = fewest_steps(grammatical)
    listed = {f"{way}, {n}": fraction for (way, n), fraction in grammatical.items()}
    record = Record(out, target=TARGET, steps=steps, grammatical=listed)
    models = {way: load(name, frozen=False).model for way, (name, _) in WAYS.items()}
    models["gpt"] = load("gpt-tales").model
    for length in LENGTHS:
        for batch in BATCHES:
            if {"length": length, "batch": batch} not in record:
                record.add(measure(models, steps, length, batch))


if __name__ == "__main__":
    main()
