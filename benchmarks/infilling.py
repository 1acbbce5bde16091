"""The README's example of infilling: how often each model fills its gaps so that the tale is grammatical and consistent.

    OMP_NUM_THREADS=1 python benchmarks/infilling.py --out benchmarks/results/infilling.json

3 seeds of 128 tales a row. Every finished row is kept in the file; a second start goes on. A test compares the README with it.
"""

import argparse
from pathlib import Path

import torch
from rows import begun, keep

from minildm.cli.steering import steered
from minildm.cli.writing import writer
from minildm.evaluation.scorecard import validity
from minildm.training.zoo import load

SEEDS, COUNT = 3, 128
WORDS = (
    "once at the castle there lived ____ tess the ____ and ____ ben the ____ . tess the ____ found a ____ ____ . "
    "tess gave ben the ____ ____ . ben became ____ . in the end ben was ____ ."
)  # one blank a word
SPANS = "once at the castle there lived ____ . in the end ____ ."  # nobody says how long
GAPS = {"words": (WORDS, 1), "spans": (SPANS, None)}
WAYS = (
    ("words", "masked-tales", {"solver": "confidence", "steps": 11}),  # a word a step
    ("words", "manta-tales", {}),
    ("spans", "manta-tales", {}),
)


def main() -> None:
    """Measure what is not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    study = begun(out)
    for gaps, name, how in WAYS:
        loaded, (text, gap) = load(name), GAPS[gaps]
        write = writer(loaded, steered=steered(loaded, COUNT, infill=text, gap=gap), **how)
        for seed in range(SEEDS):
            where = {"model": name, **how, "gaps": gaps, "text": text, "seed": seed, "count": COUNT}
            if any(where.items() <= row.items() for row in study["rows"]):
                continue
            tokens = write(COUNT, torch.Generator().manual_seed(seed)).tokens
            scores = validity([loaded.tokenizer.decode(row) for row in tokens.tolist()])
            keep(
                out,
                study,
                {**where, **{score: scores[score] for score in ("grammatical", "consistent")}},
            )


if __name__ == "__main__":
    main()
