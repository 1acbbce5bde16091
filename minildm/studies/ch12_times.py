"""What adaptive training times are worth, with two ways to average the losses of a bin.

The full recipe is trained with four timestep distributions: adaptive, as the package has it;
adaptive from per-bin moving averages, of each bin's own last hundred losses; the same with a short
memory, ten bins of ten losses; and uniform.
"""

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..evaluation.scorecard import good_sentences
from ..models.generation import GenerationConfig
from ..models.ldlm import LDLM
from ..sampling.sampler import Sampler
from ..text.batches import tensor
from ..text.tokenizers import Tokenizer
from ..transport.paths import interpolate
from ..transport.time_sampling import AdaptiveTime
from .ch12_recipe import TRAIN, VARIANTS, WRITTEN, corpus_and_encoder, untrained
from .common import generator, trained
from .record import Record

TENTHS = 10  # parts of time
ROWS = 256  # validation tales


class PerBinAverages(AdaptiveTime):
    """Adaptive times from a moving average of each bin's own losses, whenever they were seen."""

    def update(self, step: int) -> None:
        seen = self.new_count > 0
        means = (self.new_loss / self.new_count).nan_to_num()
        for kept, new in ((self.loss, means), (self.weight, seen.double())):
            kept.copy_(kept.lerp(new, 1 - self.decay).where(seen, kept))
        self.new_loss.zero_()
        self.new_count.zero_()
        if (step + 1) % self.refresh == 0 and bool((self.weight > 0).all()):
            self.cdf.copy_(self.distribution())


DISTRIBUTIONS = {  # name -> variant of the recipe, class, its settings
    "adaptive": ("full", AdaptiveTime, {}),
    "per-bin averages": ("full", PerBinAverages, {}),
    "short memory": ("full", PerBinAverages, {"bins": 10, "decay": 0.9}),
    "uniform": ("no adaptive time", AdaptiveTime, {}),
}


@torch.no_grad()
def by_tenth(model: LDLM, rows: np.ndarray, seed: int) -> dict[str, list[float]]:
    """For each tenth of time: its probability, the error of the denoiser, and decoded tokens."""
    rng = generator(seed)
    tokens = tensor(rows)
    z1 = model.encode(model.hidden(tokens))
    shown = model.decode_tokens(z1, tokens.shape[1])[0]
    edges = torch.linspace(0, 1, model.time.bins + 1, dtype=torch.float64)
    cdf = [float(model.time.cdf[(edges - k / TENTHS).abs().argmin()]) for k in range(TENTHS + 1)]
    found: dict[str, list[float]] = {
        "probability": [b - a for a, b in pairwise(cdf)],
        "error": [],
        "tokens": [],
    }
    for k in range(TENTHS):
        t = (k + torch.rand(len(z1), generator=rng)) / TENTHS
        zt = interpolate(model.schedule, z1, torch.randn(z1.shape, generator=rng), t)
        denoised = model.denoise(zt, t, torch.zeros_like(zt))
        same = model.decode_tokens(denoised, tokens.shape[1])[0] == shown
        found["error"].append((denoised - z1).square().mean().item())
        found["tokens"].append(same.float().mean().item())
    return found


@torch.no_grad()
def written(model: LDLM, tokenizer: Tokenizer, seed: int, warped: bool) -> float:
    """The fraction of good sentences, with steps uniform in warped time or in time itself."""
    sampler = Sampler(model, GenerationConfig(warped=warped))
    tokens = sampler(WRITTEN, rng=generator(seed)).tokens
    return good_sentences([tokenizer.decode(row) for row in tokens.tolist()])


def run(out: Path = Path("runs/ch12_times.json"), seeds: int = 3, steps: int = 1000) -> None:
    """What adaptive training times are worth, and what averages of losses they need.

    Args:
        out: File of the record.
        seeds: Seeds of each timestep distribution; every one trains a model.
        steps: Training steps of each model.
    """
    train = replace(TRAIN, steps=steps)
    settings = {
        name: {"recipe": asdict(VARIANTS[recipe]), "averages": averages.__name__, **memory}
        for name, (recipe, averages, memory) in DISTRIBUTIONS.items()
    }
    record = Record(out, distributions=settings, train=asdict(train))
    corpus, frozen = corpus_and_encoder()
    for seed in range(seeds):
        for name, (recipe, averages, memory) in DISTRIBUTIONS.items():
            case: dict[str, Any] = {"distribution": name, "seed": seed}
            if case in record:
                continue
            model = untrained(recipe, seed, corpus, frozen)
            model.time = averages(**memory)
            folder = out.parent / "runs" / out.stem / f"{name.replace(' ', '_')}_{seed}"
            trained(model, corpus.train, replace(train, seed=seed), folder)
            model.eval()
            figures = {
                **by_tenth(model, corpus.valid[:ROWS], seed),
                "uniform in warped time": written(model, corpus.tokenizer, seed, True),
                "uniform in time": written(model, corpus.tokenizer, seed, False),
            }
            record.add(case | figures)
