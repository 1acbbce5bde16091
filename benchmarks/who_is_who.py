"""Where an LDLM loses track of who is who, trained briefly and long: tales noised and written on, guidance, and temperature.

    OMP_NUM_THREADS=1 python benchmarks/who_is_who.py --out benchmarks/results/who_is_who.json

`start`: held-out tales are noised to where a text is after a share of the steps, and written anew from there. `guidance`:
z_hat = f(z_t, t, c) + strength (f(z_t, t, c) - f(z_t, t, 0)), two calls a step. `temperature`: that of the noise in ancestral
steps, which is otherwise the model's own. 32 steps, 3 seeds. A finished row is kept in the file; a second start goes on.
Chapter 12 reads the file.
"""

import argparse
from pathlib import Path

import torch
from rows import begun, keep

from minildm.evaluation.diversity import distinct
from minildm.evaluation.scorecard import validity
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus
from minildm.text.tales_parser import parse
from minildm.training.zoo import load

STEPS, SEEDS = 32, 3
SHARES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the steps
PARTS = {
    "start": SHARES,
    "temperature": (1.0, 0.8, 0.6, 0.5, 0.4, 0.2),
    "guidance": (0.0, 0.25, 0.5, 1.0, 2.0),
}
MODELS = {"ldlm-brief": tuple(PARTS), "ldlm-tales": ("start", "temperature")}


def guided(clean, strength: float):
    """The denoiser with what its self-condition changes counted 1 + strength times."""

    def predict(zt, t, c):
        told = clean(zt, t, c)
        return told + strength * (told - clean(zt, t, torch.zeros_like(c)))

    return predict


def namesakes(texts: list[str]) -> float:
    """Share of texts whose opening calls two characters by one name."""
    return sum(
        any("two characters" in e.message for e in parse(text).errors) for text in texts
    ) / len(texts)


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/who_is_who.json"))
    flags.add_argument("--count", type=int, default=128, help="tales a row")
    given = flags.parse_args()
    torch.set_num_threads(1)
    study = begun(given.out, count=given.count, steps=STEPS)
    done = {(row["model"], row["part"], row["value"], row["seed"]) for row in study["rows"]}
    for name, parts in MODELS.items():
        loaded = load(name)
        model, clean = loaded.model, loaded.model.clean
        tales = tensor(load_corpus("tales", model.config.length, documents=100_000).valid)
        todo = [
            (seed, part, value)
            for part in parts
            for seed in range(SEEDS)
            for value in PARTS[part]
            if (name, part, value, seed) not in done
        ]
        for seed, part, value in todo:
            truth = tales[seed * given.count : (seed + 1) * given.count]
            model.clean = guided(clean, value) if part == "guidance" and value else clean
            asked = {"prompt": truth, "start": value} if part == "start" and value else {}
            if part == "temperature":
                asked["temperature"] = value
            written = model.generate(
                given.count, rng=torch.Generator().manual_seed(seed), steps=STEPS, **asked
            )
            texts = [loaded.tokenizer.decode(row) for row in written.tokens.tolist()]
            scores = {k: score for k, score in validity(texts).items() if k != "law_nats_per_token"}
            keep(
                given.out,
                study,
                {
                    "model": name,
                    "part": part,
                    "value": value,
                    "seed": seed,
                    **scores,
                    "error_namesakes": namesakes(texts),
                    "distinct_4": distinct(written.tokens.numpy(), 4, loaded.tokenizer.size),
                    "words_kept": (written.tokens == truth).float().mean().item(),
                },
            )


if __name__ == "__main__":
    main()
