"""The recipe of LDLM at nano size: whole, with each ingredient removed, and with none of them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..evaluation.diversity import unigram_entropy
from ..evaluation.scorecard import good_sentences, validity
from ..models.ldlm import LDLM, LDLMConfig
from ..models.recipe import NAIVE, Recipe
from ..nets.frozen import FrozenEncoder
from ..pretrained import load_frozen
from ..sampling.sampler import Sampler
from ..text.batches import tensor, valid_batches
from ..text.corpora import Corpus, load_corpus
from ..training.config import TrainConfig
from .common import generator, trained
from .record import Record

FULL = Recipe(warmup=300, decoder_noise=0.5)
SMALL_SCALE = replace(FULL, encoder_gradient_scale=0.05)
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
    "small scale": SMALL_SCALE,
    **{f"small scale, {name}": replace(SMALL_SCALE, **change) for name, change in REMOVED.items()},
    "no norm": replace(FULL, latent_norm="none"),
    "no norm, no noise": replace(FULL, latent_norm="none", decoder_noise=0.0),
}
SIZES = LDLMConfig(
    latent=16, d_model=64, n_heads=2, n_encoder_layers=1, n_decoder_layers=1, n_denoiser_layers=3
)
TRAIN = TrainConfig(
    steps=1000, batch=32, lr=3e-3, warmup=50, ema=0.99, bf16=True, log_every=50, save_every=1000
)
WRITTEN = 512  # texts judged of each model
CURVES = ("step", "tokens", "diffusion", "gamma")  # of the metrics log


def corpus_and_encoder() -> tuple[Corpus, FrozenEncoder]:
    """The tales that all variants read, and the calibrated encoder that they stand on."""
    frozen, _ = load_frozen("zoo:gpt-cpu", SIZES.layer)
    corpus = load_corpus("tales", SIZES.seq_len, documents=200_000)
    frozen.calibrate(tensor(corpus.train[:2048]))
    return corpus, frozen


def untrained(variant: str, seed: int, corpus: Corpus, frozen: FrozenEncoder) -> LDLM:
    """A model of a variant, with weights of a seed."""
    torch.manual_seed(seed)
    sizes = replace(SIZES, vocab_size=corpus.tokenizer.size, recipe=VARIANTS[variant])
    return LDLM(sizes, frozen)


def effective_rank(z: torch.Tensor) -> float:
    """The exponential of the entropy of the normalized spectrum of latents (rows, channels)."""
    power = torch.linalg.svdvals(z - z.mean(0)) ** 2
    p = power / power.sum()
    return torch.exp(-(p * p.clamp(min=1e-12).log()).sum()).item()


@torch.no_grad()
def measure(model: LDLM, corpus: Corpus, seed: int) -> dict[str, float]:
    """Validity and diversity of texts, and statistics of the latents."""
    model.eval()
    rows = corpus.valid[:256]
    z = model.encode(model.hidden(tensor(rows))).flatten(0, 1)
    tokens = Sampler(model)(WRITTEN, rng=generator(seed)).tokens
    texts = [corpus.tokenizer.decode(row) for row in tokens.tolist()]
    return {
        "reconstruction": model.held_out(valid_batches(rows, 64))["token_accuracy"],
        "good_sentences": good_sentences(texts),
        "grammatical": validity(texts)["grammatical"],
        "entropy": unigram_entropy(tokens.numpy()),
        "different_words": len(set(" ".join(texts).split())),
        "latent_std": z.std().item(),
        "latent_rank": effective_rank(z),
    }


def run(out: Path = Path("runs/ch12_recipe.json"), seeds: int = 3, steps: int = 1000) -> None:
    """What each ingredient of LDLM's recipe is worth, at nano size in 13 variants.

    Args:
        out: File of the record.
        seeds: Seeds of each variant; every one trains a model.
        steps: Training steps of each model.
    """
    train = replace(TRAIN, steps=steps)
    recipes = {name: asdict(recipe) for name, recipe in VARIANTS.items()}
    record = Record(out, model=asdict(SIZES), train=asdict(train), written=WRITTEN, recipes=recipes)
    corpus, frozen = corpus_and_encoder()
    for seed in range(seeds):
        for name in VARIANTS:
            case: dict[str, Any] = {"variant": name, "seed": seed}
            if case in record:
                continue
            model = untrained(name, seed, corpus, frozen)
            folder = out.parent / "runs" / out.stem / f"{name.replace(' ', '_')}_{seed}"
            log = trained(model, corpus.train, replace(train, seed=seed), folder)
            curve = {key: [line[key] for line in log] for key in CURVES}
            record.add(case | measure(model, corpus, seed) | {"curve": curve})
