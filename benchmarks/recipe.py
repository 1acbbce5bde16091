"""The recipe of LDLM at nano size: whole, each ingredient removed, naive joint training; once more with a small pull; 3 seeds.

    python benchmarks/recipe.py --out benchmarks/results/recipe_nano.json

A finished run is kept in the file, so the command may be stopped and repeated; a file that was made with another
configuration is refused. Chapter 12 reads the file.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rows import begun, keep

from minildm.evaluation.diversity import unigram_entropy
from minildm.evaluation.likelihood import reconstruction
from minildm.evaluation.scorecard import good_sentences, validity
from minildm.models.ldlm import LDLM, LDLMConfig
from minildm.models.recipe import NAIVE, Recipe
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus
from minildm.training.loop import TrainConfig, Trainer
from minildm.training.zoo import load_frozen

FULL = Recipe(warmup=300, decoder_noise=0.5)
SMALL_PULL = replace(FULL, encoder_pull=0.05)
REMOVED = {
    "no MSE loss": {"decoder_loss": "cross_entropy"},
    "no warm-up": {"warmup": 0},
    "no adaptive time": {"adaptive_time": False},
    "no decoder noise": {"decoder_noise": 0.0},
}
VARIANTS = {
    "full": FULL,
    **{name: replace(FULL, **change) for name, change in REMOVED.items()},
    "naive joint": NAIVE,
    "small pull": SMALL_PULL,
    **{f"small pull, {name}": replace(SMALL_PULL, **change) for name, change in REMOVED.items()},
    "no norm": replace(FULL, latent_norm="none"),
    "no norm, no noise": replace(FULL, latent_norm="none", decoder_noise=0.0),
}
SIZES = LDLMConfig(
    latent=16, width=64, heads=2, encoder_layers=1, decoder_layers=1, denoiser_layers=3
)
TRAIN = TrainConfig(
    steps=1000, batch=32, lr=3e-3, warmup=50, ema=0.99, bf16=True, log_every=50, save_every=1000
)
WRITTEN = 512  # texts judged a run


@torch.no_grad()
def measure(model: LDLM, corpus, seed: int) -> dict[str, float]:
    """Validity, diversity and latent statistics of a trained model."""
    model.eval()
    rows = corpus.valid[:256]
    z = model.encode(model.hidden(tensor(rows))).flatten(0, 1)
    power = torch.linalg.svdvals(z - z.mean(0)) ** 2
    share = power / power.sum()
    tokens = model.generate(WRITTEN, rng=torch.Generator().manual_seed(seed)).tokens
    texts = [corpus.tokenizer.decode(row) for row in tokens.tolist()]
    return {
        "reconstruction": reconstruction(model, rows)["token_accuracy"],
        "good_sentences": good_sentences(texts),
        "grammatical": validity(texts)["grammatical"],
        "entropy": unigram_entropy(tokens.numpy()),
        "different_words": len(set(" ".join(texts).split())),
        "latent_std": z.std().item(),
        "latent_rank": torch.exp(-(share * share.clamp(min=1e-12).log()).sum()).item(),
    }


def one_run(name: str, seed: int, corpus, frozen, out: Path) -> dict:
    """Train one variant with one seed and measure it."""
    torch.manual_seed(seed)
    model = LDLM(replace(SIZES, vocabulary=corpus.tokenizer.size, recipe=VARIANTS[name]), frozen)
    train = replace(TRAIN, seed=seed)
    run = out.parent / "runs" / out.stem / f"{name.replace(' ', '_')}_{seed}"
    trainer = Trainer(
        model,
        corpus.train,
        train,
        run,
        {"config": {"model": asdict(model.config), "train": asdict(train)}},
    )
    trainer.resume()
    trainer.fit(quiet=True)
    model.load_state_dict(trainer.average.weights, strict=False)
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    curve = {k: [line[k] for line in lines] for k in ("step", "words", "diffusion", "gamma")}
    return {"variant": name, "seed": seed, **measure(model, corpus, seed), "curve": curve}


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/recipe_nano.json"))
    flags.add_argument("--seeds", type=int, default=3)
    flags = flags.parse_args()
    study = begun(
        flags.out,
        "runs",
        model=asdict(SIZES),
        train=asdict(TRAIN),
        written=WRITTEN,
        recipes={name: asdict(recipe) for name, recipe in VARIANTS.items()},
    )
    done = {(run["variant"], run["seed"]) for run in study["runs"]}
    frozen, _ = load_frozen("zoo:gpt-brief", SIZES.layer)
    corpus = load_corpus("tales", SIZES.length, documents=200_000)
    frozen.calibrate(tensor(corpus.train[:2048]))
    for seed in range(flags.seeds):
        for name in [name for name in VARIANTS if (name, seed) not in done]:
            keep(flags.out, study, one_run(name, seed, corpus, frozen, flags.out), key="runs")


if __name__ == "__main__":
    main()
