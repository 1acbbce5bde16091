"""What each choice of a Manta-LM is worth at nano size, in a small world of tales of one event.

The choices are kernels, couplings, heads and terminal costs; each variant is trained with 3 seeds.
"""

import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from ..control.feedback import Rollout, rollout, transport
from ..dynamics.solvers import euler
from ..evaluation.scorecard import good_sentences, validity
from ..models.manta import MantaLM
from ..models.manta_config import MantaLMConfig
from ..models.vae import VAE
from ..pretrained import Loaded, load
from ..sampling.policy import MantaPolicy
from ..text.corpora import pad_rows
from ..text.tales import LEXICON, sample
from ..text.tokenizers import Tokenizer
from ..training.config import TrainConfig
from ..transport.couplings import reflow
from ..transport.diffusion import straight_step
from ..transport.noise_levels import offset_grid
from .ch10_rectification import first_within
from .common import generator, trained
from .record import Record

WORLD = replace(
    LEXICON,
    name=LEXICON.name[:12],
    species=LEXICON.species[:8],
    trait=LEXICON.trait[:6],
    place=LEXICON.place[:8],
    color=LEXICON.color[:6],
    thing=LEXICON.thing[:10],
    mood=LEXICON.mood[:6],
    cast=(2,),
)
DENOISED = MantaLMConfig(seq_len=40, d_model=64, n_heads=2, n_layers=3, head="denoised")
TOKENS = replace(DENOISED, head="tokens")
TEACHER = "denoised head"
STUDENT = "denoised head, reflow"
VARIANTS = {
    "attention": TOKENS,
    "spectral": replace(TOKENS, kernel="spectral"),
    "slice": replace(TOKENS, kernel="slice"),
    "causal": replace(TOKENS, kernel="causal"),
    TEACHER: DENOISED,
    "denoised head, optimal": replace(DENOISED, coupling="optimal"),
    STUDENT: DENOISED,
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
OFFSET = 3.0  # of the noise levels over a text
TEXTS = 20_000  # training texts
PAIRS = 4096  # that reflow makes
WRITTEN, FOLLOWED = 256, 64  # texts judged a run, and texts whose paths are compared
STEPS = (4, 8, 16, 32, 64, 128)
FINE = 256  # steps of the path that the others are compared with
TOLERANCE = 0.1  # fraction of tokens that may end otherwise
WAYS = {"ancestral": (1.0, "pinned"), "pinned": (0.0, "pinned"), "soft": (0.0, "soft")}


def corpus(tokenizer: Tokenizer) -> np.ndarray:
    """Rows of tales of one event in the small world."""
    rng = random.Random(0)
    texts = [tokenizer.encode(sample(rng, 1, WORLD).text) for _ in range(TEXTS)]
    return pad_rows(texts, DENOISED.seq_len, tokenizer)


@torch.no_grad()
def draw(
    model: MantaLM, steps: int, seed: int, eta: float = 0.0, count: int = FOLLOWED
) -> tuple[Rollout, torch.Tensor]:
    """The path of texts with its controls, and its times."""
    rng = generator(seed)
    z0 = torch.randn(count, DENOISED.seq_len, model.config.space.latent, generator=rng)
    hidden = torch.ones(z0.shape[:2], dtype=torch.bool)
    times = model.time.warp(offset_grid(steps, OFFSET, hidden))
    step = straight_step(eta) if eta else euler
    return rollout(transport, MantaPolicy(model), z0, times, step, rng), times


def decoded(model: MantaLM, path: Rollout) -> torch.Tensor:
    """The tokens at the end of a path."""
    return model.space.decode_tokens(path.path.states[-1])[0]


def judged(tokens: torch.Tensor, tokenizer: Tokenizer) -> dict[str, float]:
    """Fractions of good sentences, of grammatical and of consistent texts."""
    texts = [tokenizer.decode(row) for row in tokens.tolist()]
    found = validity(texts)
    return {
        "good_sentences": good_sentences(texts),
        "grammatical": found["grammatical"],
        "consistent": found["consistent"],
    }


def straightness_and_steps(model: MantaLM, seed: int) -> dict[str, float]:
    """How far fine paths are from straight, and how many steps reach their ends."""
    fine, times = draw(model, FINE, seed)
    whole = fine.path.states[-1] - fine.path.states[0]
    deviations = (times.diff(dim=0) * (fine.controls - whole).square()).sum(0)
    ends = decoded(model, fine)
    astray = {
        steps: (decoded(model, draw(model, steps, seed)[0]) != ends).double().mean().item()
        for steps in STEPS
    }
    return {
        "straightness": (deviations.sum() / whole.square().sum()).item(),
        **{f"astray, {steps}": fraction for steps, fraction in astray.items()},
        "steps_to_tolerance": first_within(astray, TOLERANCE),
    }


def measure(model: MantaLM, tokenizer: Tokenizer, seed: int) -> dict[str, float]:
    """Straightness, steps to tolerance, and validity at few and many steps, in three ways."""
    model.eval()
    found = straightness_and_steps(model, seed)
    config = model.config
    for steps in (4, 32):
        for name, (eta, terminal) in WAYS.items():
            model.config = replace(config, terminal=terminal)
            path, _ = draw(model, steps, seed, eta, WRITTEN)
            good = judged(decoded(model, path), tokenizer)
            found |= {f"{key}, {name}, {steps}": value for key, value in good.items()}
    model.config = config
    return found


def untrained(variant: str, seed: int, loaded: Loaded) -> MantaLM:
    """A model of a variant, with weights of a seed."""
    space = cast(VAE, loaded.model)
    torch.manual_seed(seed)
    return MantaLM(replace(VARIANTS[variant], space=space.config), space)


def reflowed(teacher: MantaLM, seed: int):
    """Pairs of noise and data that the paths of a teacher connect."""
    shape = PAIRS, DENOISED.seq_len, teacher.config.space.latent
    z0 = torch.randn(shape, generator=generator(seed))
    grid = offset_grid(64, 0.0, torch.ones(z0.shape[:2], dtype=torch.bool))
    return reflow(MantaPolicy(teacher.eval()), z0, teacher.time.warp(grid), "euler")


def run(out: Path = Path("runs/ch13_choices.json"), seeds: int = 3, steps: int = 1500) -> None:
    """What each kernel, head, coupling and terminal cost of a Manta-LM is worth at nano size.

    Args:
        out: File of the record.
        seeds: Seeds of each variant; every one trains a model.
        steps: Training steps of each model.
    """
    loaded = load("vae-tales")
    train = replace(TRAIN, steps=steps)
    variants = {name: asdict(config) for name, config in VARIANTS.items()}
    record = Record(
        out, config={"variants": variants, "train": asdict(train), "world": asdict(WORLD)}
    )
    rows = corpus(loaded.tokenizer)
    for seed in range(seeds):
        seeded = replace(train, seed=seed)
        for name in VARIANTS:
            case = {"variant": name, "seed": seed}
            if case in record:
                continue
            model = untrained(name, seed, loaded)
            if name == STUDENT:
                teacher = untrained(TEACHER, seed, loaded)
                trained(teacher, rows, seeded, out.parent / "runs" / out.stem / f"{TEACHER}-{seed}")
                model.pairs = reflowed(teacher, seed)
            log = trained(model, rows, seeded, out.parent / "runs" / out.stem / f"{name}-{seed}")
            errors = [line["error"] for line in log if "error" in line][-8:]
            parameters = sum(p.numel() for p in model.policy.parameters())
            figures = {"error": sum(errors) / len(errors), "parameters": parameters}
            record.add(case | figures | measure(model, loaded.tokenizer, seed))
