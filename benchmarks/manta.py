"""What each choice of a Manta-LM is worth at nano size, in a small world: kernels, couplings, heads and laws; 3 seeds each.

    python benchmarks/manta.py --out benchmarks/results/manta_nano.json

A finished run is kept in the file, so the command may be stopped and repeated; a file that was made with another
configuration is refused. Chapter 13 reads the file.
"""

import argparse
import json
import random
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from minildm.control.feedback import rollout, transport
from minildm.dynamics.solvers import euler
from minildm.evaluation.provenance import provenance
from minildm.evaluation.rectification import first_within
from minildm.evaluation.scorecard import good_sentences, validity
from minildm.models.manta import Manta
from minildm.models.manta_config import MantaConfig
from minildm.models.policy import Policy
from minildm.text.corpora import pad_rows
from minildm.text.tales import LEXICON, sample
from minildm.training.loop import TrainConfig, Trainer
from minildm.training.zoo import load
from minildm.transport.couplings import reflow
from minildm.transport.diffusion import straight_step
from minildm.transport.staggering import staggered_grid

WORLD = replace(LEXICON, name=LEXICON.name[:12], species=LEXICON.species[:8], trait=LEXICON.trait[:6], place=LEXICON.place[:8],
                color=LEXICON.color[:6], kind=LEXICON.kind[:10], mood=LEXICON.mood[:6], cast=(2,))
CLEAN = MantaConfig(length=40, width=64, heads=2, layers=3, head="clean", writing_lag=3.0)
WORDS = replace(CLEAN, head="words")
VARIANTS = {
    "attention": WORDS, "spectral": replace(WORDS, kernel="spectral"), "slice": replace(WORDS, kernel="slice"),
    "causal": replace(WORDS, kernel="causal"),
    "clean head": CLEAN, "clean head, optimal": replace(CLEAN, coupling="optimal"), "clean head, reflow": CLEAN,
}
TRAIN = TrainConfig(steps=1500, batch=32, lr=4e-3, warmup=50, ema=0.99, bf16=True, final_lr=0.02, log_every=50, save_every=1500)
TEXTS = 20_000  # training texts
PAIRS = 4096  # that reflow makes
WRITTEN, FOLLOWED = 256, 64  # texts judged a run, and texts whose paths are compared
STEPS = (4, 8, 16, 32, 64, 128)
FINE = 256  # steps of the path that the others are compared with
TOLERANCE = 0.1  # share of words that may end otherwise


def corpus(tokenizer):
    """Rows of tales of one event in the small world."""
    rng = random.Random(0)
    return pad_rows([tokenizer.encode(sample(rng, 1, WORLD).text) for _ in range(TEXTS)], CLEAN.length, tokenizer)


@torch.no_grad()
def write(model: Manta, steps: int, seed: int, noise: float, law: str = "pinned", count: int = WRITTEN) -> tuple:
    """The path of texts and its velocities."""
    rng = torch.Generator().manual_seed(seed)
    z0 = torch.randn(count, CLEAN.length, model.config.space.latent, generator=rng)
    times = model.time.warp(staggered_grid(steps, model.config.writing_lag, torch.ones(z0.shape[:2], dtype=torch.bool)))
    model.config = replace(model.config, law=law)
    run = rollout(transport, Policy(model), z0, times, straight_step(noise) if noise else euler, rng)
    model.config = replace(model.config, law="pinned")
    return run, times


def judged(tokens, tokenizer) -> dict[str, float]:
    """Shares of good sentences, grammatical texts and consistent texts."""
    texts = [tokenizer.decode(row) for row in tokens.tolist()]
    shares = validity(texts)
    return {"good_sentences": good_sentences(texts)} | {name: shares[name] for name in ("grammatical", "consistent")}


def measure(model: Manta, tokenizer, seed: int) -> dict[str, float]:
    """Straightness, steps to tolerance, and quality at few and many steps, for both laws."""
    model.eval()
    fine, times = write(model, FINE, seed, 0.0, count=FOLLOWED)
    whole = fine.path.states[-1] - fine.path.states[0]
    bends = (times.diff(dim=0) * (fine.controls - whole).square()).sum(0)
    words = model.space.read_off(fine.path.states[-1])[0]
    scores, astray = {"bending": (bends.sum() / whole.square().sum()).item()}, {}
    for steps in STEPS:
        tokens = model.space.read_off(write(model, steps, seed, 0.0, count=FOLLOWED)[0].path.states[-1])[0]
        astray[steps] = (tokens != words).double().mean().item()
        scores[f"astray, {steps}"] = astray[steps]
    scores["steps_to_tolerance"] = first_within(astray, TOLERANCE)
    for steps in (4, 32):
        for name, noise, law in (("ancestral", 1.0, "pinned"), ("pinned", 0.0, "pinned"), ("soft", 0.0, "soft")):
            tokens = model.space.read_off(write(model, steps, seed, noise, law)[0].path.states[-1])[0]
            scores |= {f"{k}, {name}, {steps}": v for k, v in judged(tokens, tokenizer).items()}
    return scores


def one_run(name: str, seed: int, rows, loaded, out: Path) -> dict:
    """Train one variant with one seed and measure it."""
    torch.manual_seed(seed)
    model = Manta(replace(VARIANTS[name], space=loaded.model.config), loaded.model)
    if name == "clean head, reflow":
        teacher = Manta(model.config, loaded.model)
        Trainer(teacher, rows, replace(TRAIN, seed=seed), out.parent / f"clean head-{seed}", {"config": {}}).resume()
        z0 = torch.randn(PAIRS, CLEAN.length, loaded.model.config.latent, generator=torch.Generator().manual_seed(seed))
        grid = staggered_grid(64, 0.0, torch.ones(z0.shape[:2], dtype=torch.bool))
        model.pairs = reflow(Policy(teacher.eval()), z0, teacher.time.warp(grid), "euler")
    trainer = Trainer(model, rows, replace(TRAIN, seed=seed), out.parent / f"{name}-{seed}", {"config": {}})
    trainer.fit(quiet=True)
    model.load_state_dict(trainer.average.weights, strict=False)
    losses = [json.loads(line) for line in (out.parent / f"{name}-{seed}" / "journal.jsonl").read_text().splitlines()]
    error = sum(line["error"] for line in losses[-8:]) / 8
    return {"variant": name, "seed": seed, "error": error, "parameters": sum(p.numel() for p in model.policy.parameters()),
            **measure(model, loaded.tokenizer, seed)}


def main() -> None:
    """Run what is not in the file yet."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--out", type=Path, default=Path("runs/manta_nano.json"))
    flags.add_argument("--runs", type=Path, default=Path("runs/manta_nano"))
    flags.add_argument("--seeds", type=int, default=3)
    given = flags.parse_args()
    loaded = load("vae-tales")
    config = {"variants": {k: asdict(v) for k, v in VARIANTS.items()}, "train": asdict(TRAIN), "world": asdict(WORLD)}
    config = json.loads(json.dumps(config))
    study = json.loads(given.out.read_text()) if given.out.exists() else {"config": config, "runs": []}
    if study["config"] != config:
        sys.exit(f"{given.out} was made with another configuration: choose another --out")
    study |= provenance(torch.device("cpu"))
    rows, done = corpus(loaded.tokenizer), {(run["variant"], run["seed"]) for run in study["runs"]}
    for seed in range(given.seeds):
        for name in VARIANTS:
            if (name, seed) in done:
                continue
            study["runs"].append(one_run(name, seed, rows, loaded, given.runs / "study"))
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(study, indent=1) + "\n")
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in study["runs"][-1].items()}, flush=True)


if __name__ == "__main__":
    main()
