"""Validity of tales against the number of network evaluations, for the samplers of three models."""

import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from ..evaluation.scorecard import PART
from ..models.generation import GenerationConfig
from ..sampling.sampler import Sampler
from .common import generator, scores, small_model
from .record import Record

SEEDS = 3
STEPS = (4, 8, 16, 32, 64)
SOLVERS = {"masked": ("ancestral", "confidence", "margin"), "ldlm": ("ancestral",)}


def cases() -> list[dict[str, Any]]:
    """All rows: a GPT has neither solvers nor steps; two cases are repeated in float32."""
    found = [
        {"model": "gpt", "solver": None, "steps": None, "seed": seed, "bfloat16": False}
        for seed in range(SEEDS)
    ]
    for model_type, solvers in SOLVERS.items():
        found += [
            {"model": model_type, "solver": solver, "steps": n, "seed": seed, "bfloat16": True}
            for solver in solvers
            for n in STEPS
            for seed in range(SEEDS)
        ]
        single = {"model": model_type, "solver": "ancestral", "steps": 8, "seed": 0}
        found.append(single | {"bfloat16": False})
    return found


def measure(case: dict[str, Any], count: int) -> dict[str, Any]:
    """Validity of the tales of one row, network evaluations of a part, and CPU seconds."""
    loaded = small_model(case["model"])
    sampler = Sampler(loaded.model, GenerationConfig(steps=case["steps"], solver=case["solver"]))
    rng = generator(case["seed"])
    began = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=case["bfloat16"]):
        parts = [sampler(min(PART, count - i), rng=rng) for i in range(0, count, PART)]
    seconds = time.process_time() - began
    tokens = torch.cat([part.tokens for part in parts])
    nfe = fmean(part.nfe for part in parts)
    return {
        "count": count,
        "nfe": nfe,
        "cpu_seconds": seconds,
        **scores(loaded.tokenizer, tokens),
    }


def run(out: Path = Path("runs/ch09_fidelity.json"), count: int = 512) -> None:
    """How many tales are consistent with few and many steps, by three models.

    Args:
        out: File of the record.
        count: Tales of each row.
    """
    record = Record(out)
    for case in cases():
        if case not in record:
            record.add(case | measure(case, count))
