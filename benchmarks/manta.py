"""What each choice of a Manta-LM is worth at nano size, in a small world: kernels, couplings, heads and laws; 3 seeds each.

    python benchmarks/manta.py --out benchmarks/results/manta_nano.json

A finished run is kept in the file, so the command may be stopped and repeated; a file that was made with another
configuration is refused. Chapter 13 reads the file.
"""

import argparse
import random
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rows import begun, keep

from minildm.control.feedback import rollout, transport
from minildm.dynamics.solvers import euler
from minildm.evaluation.rectification import first_within
from minildm.evaluation.scorecard import good_sentences, validity
from minildm.models.manta import Manta
from minildm.models.manta_config import MantaConfig
from minildm.models.policy import Policy
from minildm.text.corpora import pad_rows
from minildm.text.tales import LEXICON, sample
from minildm.training.checkpoint import config_card
from minildm.training.journal import read_journal
from minildm.training.loop import TrainConfig, Trainer
from minildm.training.zoo import load
from minildm.transport.couplings import reflow
from minildm.transport.diffusion import straight_step
from minildm.transport.staggering import staggered_grid

WORLD = replace(
    LEXICON,
    name=LEXICON.name[:12],
    species=LEXICON.species[:8],
    trait=LEXICON.trait[:6],
    place=LEXICON.place[:8],
    color=LEXICON.color[:6],
    kind=LEXICON.kind[:10],
    mood=LEXICON.mood[:6],
    cast=(2,),
)
CLEAN = MantaConfig(length=40, width=64, heads=2, layers=3, head="clean", writing_lag=3.0)
WORDS = replace(CLEAN, head="words")
VARIANTS = {
    "attention": WORDS,
    "spectral": replace(WORDS, kernel="spectral"),
    "slice": replace(WORDS, kernel="slice"),
    "causal": replace(WORDS, kernel="causal"),
    "clean head": CLEAN,
    "clean head, optimal": replace(CLEAN, coupling="optimal"),
    "clean head, reflow": CLEAN,
}
TRAIN = TrainConfig(
    steps=1500,
    batch=32,
    lr=4e-3,
    warmup=50,
    ema=0.99,
    bf16=True,
    final_lr=0.02,
    log_every=50,
    save_every=1500,
)
TEXTS = 20_000  # training texts
PAIRS = 4096  # that reflow makes
WRITTEN, FOLLOWED = 256, 64  # texts judged a run, and texts whose paths are compared
STEPS = (4, 8, 16, 32, 64, 128)
FINE = 256  # steps of the path that the others are compared with
TOLERANCE = 0.1  # share of words that may end otherwise


def corpus(tokenizer):
    """Rows of tales of one event in the small world."""
    rng = random.Random(0)
    return pad_rows(
        [tokenizer.encode(sample(rng, 1, WORLD).text) for _ in range(TEXTS)],
        CLEAN.length,
        tokenizer,
    )


@torch.no_grad()
def write(
    model: Manta, steps: int, seed: int, noise: float, law: str = "pinned", count: int = WRITTEN
) -> tuple:
    """The path of texts and its velocities."""
    rng = torch.Generator().manual_seed(seed)
    z0 = torch.randn(count, CLEAN.length, model.config.space.latent, generator=rng)
    times = model.time.warp(
        staggered_grid(steps, model.config.writing_lag, torch.ones(z0.shape[:2], dtype=torch.bool))
    )
    model.config = replace(model.config, law=law)
    run = rollout(
        transport, Policy(model), z0, times, straight_step(noise) if noise else euler, rng
    )
    model.config = replace(model.config, law="pinned")
    return run, times


def judged(tokens, tokenizer) -> dict[str, float]:
    """Shares of good sentences, grammatical texts and consistent texts."""
    texts = [tokenizer.decode(row) for row in tokens.tolist()]
    shares = validity(texts)
    return {"good_sentences": good_sentences(texts)} | {
        name: shares[name] for name in ("grammatical", "consistent")
    }


def measure(model: Manta, tokenizer, seed: int) -> dict[str, float]:
    """Straightness, steps to tolerance, and quality at few and many steps, for both laws."""
    model.eval()
    fine, times = write(model, FINE, seed, 0.0, count=FOLLOWED)
    whole = fine.path.states[-1] - fine.path.states[0]
    bends = (times.diff(dim=0) * (fine.controls - whole).square()).sum(0)
    words = model.space.read_off(fine.path.states[-1])[0]
    scores, astray = {"bending": (bends.sum() / whole.square().sum()).item()}, {}
    for steps in STEPS:
        tokens = model.space.read_off(
            write(model, steps, seed, 0.0, count=FOLLOWED)[0].path.states[-1]
        )[0]
        astray[steps] = (tokens != words).double().mean().item()
        scores[f"astray, {steps}"] = astray[steps]
    scores["steps_to_tolerance"] = first_within(astray, TOLERANCE)
    for steps in (4, 32):
        for name, noise, law in (
            ("ancestral", 1.0, "pinned"),
            ("pinned", 0.0, "pinned"),
            ("soft", 0.0, "soft"),
        ):
            tokens = model.space.read_off(write(model, steps, seed, noise, law)[0].path.states[-1])[
                0
            ]
            scores |= {f"{k}, {name}, {steps}": v for k, v in judged(tokens, tokenizer).items()}
    return scores


def trainer(name: str, seed: int, rows, loaded, runs: Path) -> Trainer:
    """A variant's training with one seed."""
    torch.manual_seed(seed)
    model, train = (
        Manta(replace(VARIANTS[name], space=loaded.model.config), loaded.model),
        replace(TRAIN, seed=seed),
    )
    card = {"config": {"model": config_card(model.config), "train": config_card(train)}}
    return Trainer(model, rows, train, runs / f"{name}-{seed}", card)


def one_run(name: str, seed: int, rows, loaded, runs: Path) -> dict:
    """Train one variant with one seed and measure it."""
    training = trainer(name, seed, rows, loaded, runs)
    model = training.model
    if name == "clean head, reflow":
        teaching = trainer("clean head", seed, rows, loaded, runs)
        if not teaching.resume():
            sys.exit(
                f"{teaching.run}, which reflow learns from, is gone: delete the rows of seed {seed} and start again"
            )
        teacher = teaching.model
        teacher.load_state_dict(teaching.average.weights, strict=False)
        z0 = torch.randn(
            PAIRS,
            CLEAN.length,
            loaded.model.config.latent,
            generator=torch.Generator().manual_seed(seed),
        )
        grid = staggered_grid(64, 0.0, torch.ones(z0.shape[:2], dtype=torch.bool))
        model.pairs = reflow(Policy(teacher.eval()), z0, teacher.time.warp(grid), "euler")
    training.resume()
    training.fit(quiet=True)
    model.load_state_dict(training.average.weights, strict=False)
    error = sum(line["error"] for line in read_journal(training.run / "journal.jsonl")[-8:]) / 8
    return {
        "variant": name,
        "seed": seed,
        "error": error,
        "parameters": sum(p.numel() for p in model.policy.parameters()),
        **measure(model, loaded.tokenizer, seed),
    }


def main() -> None:
    """Run what is not in the file yet."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/manta_nano.json"))
    flags.add_argument("--runs", type=Path, default=Path("runs/manta_nano"))
    flags.add_argument("--seeds", type=int, default=3)
    given = flags.parse_args()
    loaded = load("vae-tales")
    config = {
        "variants": {k: asdict(v) for k, v in VARIANTS.items()},
        "train": asdict(TRAIN),
        "world": asdict(WORLD),
    }
    study = begun(given.out, "runs", config=config)
    rows, done = corpus(loaded.tokenizer), {(run["variant"], run["seed"]) for run in study["runs"]}
    for seed in range(given.seeds):
        for name in [name for name in VARIANTS if (name, seed) not in done]:
            keep(given.out, study, one_run(name, seed, rows, loaded, given.runs), key="runs")


if __name__ == "__main__":
    main()
