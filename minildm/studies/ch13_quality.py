"""Validity of tales against network evaluations, for all models of the zoo and several samplers."""

from pathlib import Path
from typing import Any

import torch

from ..evaluation.diversity import distinct
from ..models.generation import GenerationConfig
from ..pretrained import load
from ..sampling.sampler import Sampler
from ..tokens import BOS
from .common import generator, scores
from .record import Record

SEEDS = 3
PARALLEL = (64, 32, 16, 8)  # steps
WAYS: dict[str, tuple[str, dict[str, Any], tuple[int | None, ...]]] = {  # name -> model, ask, steps
    "manta": ("manta-tales", {}, PARALLEL),
    "manta, temperature 1": ("manta-tales", {"temperature": 1.0}, (32,)),
    "manta, offset 2": ("manta-tales", {"offset": 2.0}, PARALLEL),
    "manta, no offset": ("manta-tales", {"offset": 0.0}, (32,)),
    "manta, offset 2, euler": ("manta-tales", {"offset": 2.0, "solver": "euler"}, (32,)),
    "manta, offset 16, sampled": ("manta-tales", {"offset": 16.0, "solver": "sampled"}, (64,)),
    "masked": ("masked-tales", {}, PARALLEL),
    "masked, temperature 0.5": ("masked-tales", {"temperature": 0.5}, PARALLEL),
    "masked, surest first": ("masked-tales", {"solver": "confidence"}, PARALLEL),
    "ldlm": ("ldlm-tales", {}, PARALLEL),
    "ldlm, temperature 1": ("ldlm-tales", {"temperature": 1.0}, (32,)),
    "ldlm-cpu": ("ldlm-cpu", {}, PARALLEL),
    "gpt": ("gpt-tales", {}, (None,)),
    "gpt, temperature 0.5": ("gpt-tales", {"temperature": 0.5}, (None,)),
    "ldlm-matched": ("ldlm-matched", {}, (32,)),
    "manta-cpu": ("manta-cpu", {}, (32,)),
    "masked-cpu": ("masked-cpu", {}, (64,)),
    "gpt-cpu": ("gpt-cpu", {}, (None,)),
}
KEPT = (
    "grammatical",
    "consistent",
    "exact_nats_per_token",
    "error_entity",
    "error_species",
    "error_ending",
)


def measure(way: str, steps: int | None, seed: int, count: int) -> dict[str, Any]:
    """The row of one way of writing with one number of steps."""
    name, asked, _ = WAYS[way]
    loaded = load(name, frozen=False)
    sampler = Sampler(loaded.model, GenerationConfig(steps=steps, **asked))
    prompt = None if loaded.model.capabilities.latent else torch.tensor([[BOS]])
    made = sampler(count, rng=generator(seed), prompt=prompt)
    found = scores(loaded.tokenizer, made.tokens)
    return {
        "model": name,
        "count": count,
        "nfe": made.nfe,
        **{key: found[key] for key in KEPT if key in found},
        "distinct_4": distinct(made.tokens.numpy(), 4, loaded.tokenizer.size),
    }


def run(out: Path = Path("runs/ch13_quality.json"), count: int = 128) -> None:
    """How many tales are grammatical and consistent with few and many steps, by all models.

    Args:
        out: File of the record.
        count: Tales of each row.
    """
    record = Record(out)
    for seed in range(SEEDS):
        for way, (_, _, grid) in WAYS.items():
            for steps in grid:
                case = {"way": way, "steps": steps, "seed": seed}
                if case not in record:
                    record.add(case | measure(way, steps, seed, count))
