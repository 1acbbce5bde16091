"""How the weight of the KL divergence rectifies a latent space: 6 weights, 3 seeds, each a small VAE of tales.

    python benchmarks/rectification.py --out benchmarks/results/rectification.json

A finished run is kept in the file, so the command may be stopped and repeated. Chapter 10 reads the file.
"""

import argparse
import math
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from rows import begun, keep
from torch import nn

from minildm.evaluation import readings
from minildm.evaluation import rectification as r
from minildm.models.vae import VAE, VAEConfig
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus
from minildm.text.tales_parser import parse
from minildm.training.loop import TrainConfig, Trainer

WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TRAIN = TrainConfig(steps=600, batch=16, lr=3e-3, warmup=50, ema=0.99, bf16=True, save_every=600)
START = 0.5  # width at the start, in the middle of what the weights ask for: Adam moves its logarithm slowly
PATHS, PAIRS, TEXTS = 512, 40, 256
TOLERANCE = 0.05  # error of the end, in standard deviations of the latents
LATE = 1 - torch.logspace(-2.5, 0, 120, dtype=torch.float64)


def trained(weight: float, seed: int, corpus) -> VAE:
    """A VAE with this weight of the KL, with its averaged weights."""
    torch.manual_seed(seed)
    model = VAE(VAEConfig(vocabulary=corpus.tokenizer.size, kl=weight))
    nn.init.constant_(model.log_width, math.log(START))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model, corpus.train, TrainConfig(**{**asdict(TRAIN), "seed": seed}), Path(folder), {}
        )
        trainer.fit(quiet=True)
    model.load_state_dict(trainer.average.weights, strict=False)
    return model.eval()


def on_the_way(model: VAE, corpus, rng: torch.Generator | None) -> dict[str, list[float]]:
    """What lies between pairs of unseen tales: grammatical texts, words of neither, confidence, by share of the way."""
    rows, shares = tensor(corpus.valid[:TEXTS]), torch.linspace(0, 1, 9)
    good, strange, sure = torch.zeros(9), torch.zeros(9), torch.zeros(9)
    for one, other in rows.view(-1, 2, rows.shape[1]):
        words, chance = readings.between(model, one, other, shares, rng)
        good += torch.tensor(
            [float(parse(corpus.tokenizer.decode(text)).grammatical) for text in words.tolist()]
        )
        strange, sure = strange + readings.third(one, other, words), sure + chance.mean(1)
    return {
        name: (2 * value / TEXTS).tolist()
        for name, value in (("grammatical", good), ("third", strange), ("sure", sure))
    }


def stiffness(law: r.WordLaw, rng: torch.Generator) -> dict[str, float]:
    """Worst rate at the border of pairs of words, the median over pairs; peak over time of the mean rate of typical paths."""
    pairs = torch.multinomial(
        law.log_weights.exp(), 4 * PAIRS, replacement=True, generator=rng
    ).view(-1, 2)
    worst = sorted(float(r.border(law, i, j, LATE).max()) for i, j in pairs.tolist() if i != j)[
        :PAIRS
    ]
    times = torch.linspace(0, 1, 101, dtype=torch.float64)
    z = torch.randn(64, law.means.shape[1], generator=rng, dtype=torch.float64)
    path = r.integrate(r.law_velocity(law), z, times, "heun")
    typical = [
        torch.linalg.eigvalsh(r.law_jacobian(law, z, t))[:, -1]
        for z, t in zip(path.states[:-1:2], times[:-1:2])
    ]
    return {
        "border": worst[len(worst) // 2],
        "typical": max(float(rates.mean()) for rates in typical),
    }


@torch.no_grad()
def measure(model: VAE, corpus, seed: int) -> dict:
    """Everything that chapter 10 asks of a space."""
    counts = torch.bincount(tensor(corpus.train).flatten(), minlength=corpus.tokenizer.size)
    law, rng, rows = (
        r.word_law(model, counts),
        torch.Generator().manual_seed(seed),
        tensor(corpus.valid),
    )
    share, std = law.log_weights.exp(), law.variances.sqrt()
    found, walked, (k, z) = (
        readings.codes(model, law, rng),
        r.walks(law, PATHS, rng),
        law.sample(4000, rng),
    )
    width, misread = float((share @ std).mean()), walked.misread(law)
    errors = {"all": walked.errors(), "typical": walked.errors(0.5), "late": walked.errors(0.95)}
    active = found.channels > 0.1
    return {
        "width": width,
        "widths": (share @ std).tolist(),
        "active_width": float((share @ std)[active].mean()) if active.any() else 1.0,
        "nats": found.nats,
        "information": found.information,
        "entropy": found.entropy,
        "active": found.active,
        "collapsed": found.collapsed,
        "read_draws": float((model.read_off(model.encode(rows, rng))[0] == rows).float().mean()),
        "read_means": float((model.read_off(model.encode(rows))[0] == rows).float().mean()),
        "best_reader": float((r.read(law, z).argmax(1) == k).double().mean()),
        "steps": {
            **{which: r.first_within(off, TOLERANCE) for which, off in errors.items()},
            "width": r.first_within(errors["typical"], width / 10),
            "words": r.first_within(misread, 0.01),
        },
        "errors": errors,
        "misread": misread,
        "stiffness": stiffness(law, rng),
        "between": {
            "means": on_the_way(model, corpus, None),
            "draws": on_the_way(model, corpus, rng),
        },
        "nudged": {
            name: [
                readings.nudged(model, law, rows[:TEXTS], x, turn) for x in (0.25, 0.5, 0.75, 1.0)
            ]
            for name, turn in (("nearest", None), ("random", rng))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    flags = parser.parse_args()
    corpus, settings = (
        load_corpus("tales", 64),
        {"train": asdict(TRAIN), "model": asdict(VAEConfig()), "start": START},
    )
    study = begun(flags.out, "runs", **settings)
    done = {(run["weight"], run["seed"]) for run in study["runs"]}
    for seed in range(flags.seeds):
        for weight in [weight for weight in WEIGHTS if (weight, seed) not in done]:
            row = {
                "weight": weight,
                "seed": seed,
                **measure(trained(weight, seed, corpus), corpus, seed),
            }
            keep(flags.out, study, row, key="runs")


if __name__ == "__main__":
    main()
