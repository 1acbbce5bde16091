"""What Muon and the short convolution each bring to a small GPT on Tales: nats above the exact entropy, and of species.

    OMP_NUM_THREADS=1 python benchmarks/binding.py --out benchmarks/results/binding.json

Four trainings of the sizes of gpt-brief, cut short. A finished one is kept in the file, so the command may be repeated.
"Species" is the word after "NAME the" once the tale is under way: it costs nothing if the model binds names to species, and
log 3 nats each if it knows only who is in the tale.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rows import begun, keep

from minildm.models.gpt import GPT
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus
from minildm.text.tales_entropy import entropy
from minildm.text.tales_parser import read
from minildm.training.loop import Trainer
from minildm.training.presets import PRESETS

STEPS, TEXTS = 1000, 1000


@torch.no_grad()
def measure(model: GPT, corpus) -> dict[str, float]:
    """Nats of a validation tale, their excess over the entropy, and the nats of species after the opening."""
    rows = tensor(corpus.valid[:TEXTS])
    nats = torch.cat([model.token_nats(part) for part in rows.split(250)])
    species, times = 0.0, 0
    for row, tale in zip(rows.tolist(), nats.tolist()):
        for sentence in read(corpus.tokenizer.decode(row))[1]:
            if sentence.key != "opening" and "species" in sentence.at:
                species, times = species + tale[sentence.at["species"]], times + 1
    tale = nats.sum().item() / TEXTS
    return {
        "nats_per_tale": tale,
        "excess": tale / entropy(3) - 1,
        "nats_per_species": species / times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    run = PRESETS["gpt-brief"]
    corpus = load_corpus(run.corpus.name, run.model.length, documents=run.corpus.documents)
    study = begun(out, "runs", steps=STEPS, batch=run.train.batch)
    done = {(row["optimizer"], row["convolution"]) for row in study["runs"]}
    for optimizer in ("adamw", "muon"):
        for convolution in (False, True):
            if (optimizer, convolution) in done:
                continue
            torch.manual_seed(0)
            model = GPT(replace(run.model, vocabulary=corpus.tokenizer.size))
            model.mix.taps.requires_grad_(convolution)
            train = replace(
                run.train,
                steps=STEPS,
                optimizer=optimizer,
                ema=0.995,
                lr=2e-3 if optimizer == "adamw" else 4e-3,
            )
            folder = out.parent / "runs" / f"binding_{optimizer}_{convolution}"
            trainer = Trainer(
                model, corpus.train, train, folder, {"config": {"train": asdict(train)}}
            )
            trainer.resume()
            trainer.fit(quiet=True)
            model.load_state_dict(trainer.average.weights, strict=False)
            row = {
                "optimizer": optimizer,
                "convolution": convolution,
                "lr": train.lr,
                **measure(model, corpus),
            }
            keep(out, study, row, key="runs")


if __name__ == "__main__":
    main()
